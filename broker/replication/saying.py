"""What a turn has to say to other nodes: messages and calls into frames, frames onto connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from broker.base.ids import GroupId, NodeId
from broker.raft.messages import Message
from broker.replication import frames
from broker.replication.frames import ClockReport, Talk


class Sender(Protocol):
    def send(self, peer: NodeId, payload: bytes) -> bool:
        """False: there was no room, and the payload is dropped."""


class FrameCounts(Protocol):
    frames_sent: int
    frames_dropped: int


class Saying:
    def __init__(self, counts: FrameCounts) -> None:
        self._counts = counts

    def say(
        self,
        to: Sender,
        messages: Mapping[NodeId, list[tuple[GroupId, Message]]],
        talk: Mapping[NodeId, Talk],
        clock: ClockReport | None = None,
    ) -> list[tuple[NodeId, Talk]]:
        """The parts of ``talk`` for which there was no room. Raft says its messages again by itself."""
        unsaid: list[tuple[NodeId, Talk]] = []
        for peer in messages.keys() | talk.keys():
            said = talk.get(peer)
            if said is None:
                self._send(to, peer, frames.encode(messages[peer], None, clock))
                continue
            to_say = messages.get(peer, [])
            for part in said.parts():
                if not self._send(to, peer, frames.encode(to_say, part, clock)):
                    unsaid.append((peer, part))
                to_say = []
        return unsaid

    def _send(self, to: Sender, peer: NodeId, payloads: Iterable[bytes]) -> bool:
        """Whether there was room for the last one."""
        sent = False
        for payload in payloads:
            sent = to.send(peer, payload)
            if sent:
                self._counts.frames_sent += 1
            else:
                self._counts.frames_dropped += 1
        return sent

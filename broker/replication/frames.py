"""What travels between two nodes in one control frame: messages of any groups, calls, and replies to calls."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.raft.messages import Append, Message

_FRAME_TARGET = 4 * 1024 * 1024
"""Bytes after which a new frame is begun, so that a slow peer's backlog is not one enormous frame."""


class Call(msgspec.Struct, frozen=True, array_like=True):
    id: int
    method: str
    payload: bytes
    timeout: Millis


class CallReply(msgspec.Struct, frozen=True, array_like=True):
    """``refusal`` set: the handler raised; ``leader`` belongs to a NotLeader."""

    id: int
    payload: bytes = b""
    refusal: Refusal | None = None
    leader: str | None = None


class PeerFrame(msgspec.Struct, frozen=True, array_like=True):
    """``cancels``: ids of calls whose caller has gone."""

    messages: list[tuple[GroupId, Message]] = []
    calls: list[Call] = []
    replies: list[CallReply] = []
    cancels: list[int] = []


class Talk(msgspec.Struct, gc=False):
    """What one node wants to tell another besides Raft, gathered during a turn."""

    calls: list[Call] = msgspec.field(default_factory=list)
    replies: list[CallReply] = msgspec.field(default_factory=list)
    cancels: list[int] = msgspec.field(default_factory=list)

    def size(self) -> int:
        return sum(len(call.payload) for call in self.calls) + sum(len(reply.payload) for reply in self.replies)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PeerFrame)


def encode(messages: list[tuple[GroupId, Message]], talk: Talk | None = None) -> Iterator[bytes]:
    """One payload, or several when there is much to say. Order of messages is kept."""
    start, size = 0, 0 if talk is None else talk.size()
    for position, (_, message) in enumerate(messages):
        if type(message) is Append:
            size += sum(len(entry.data) for entry in message.entries)
        if size > _FRAME_TARGET and position + 1 < len(messages):
            yield _encoder.encode(PeerFrame(messages[start : position + 1]))
            start, size = position + 1, 0
    rest = messages[start:] if start else messages
    if talk is None:
        yield _encoder.encode(PeerFrame(rest))
    else:
        yield _encoder.encode(PeerFrame(rest, talk.calls, talk.replies, talk.cancels))


def decode(payload: bytes | memoryview) -> PeerFrame:
    """Raises msgspec.DecodeError for anything that encode did not make."""
    return _decoder.decode(payload)

"""What travels between two nodes in one control frame: messages of any groups, calls, and replies to calls."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId
from broker.base.instants import Millis, WallMillis
from broker.raft.messages import Append, Message
from broker.transport.decoding import Malformed, decoded

_FRAME_TARGET = 4 * 1024 * 1024
"""Bytes after which a new frame is begun, so that a slow peer's backlog is not one enormous frame."""
_LARGEST = 2**62
"""Terms and times beyond are damage: believed, they could never be surpassed any more."""


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


class ClockReport(msgspec.Struct, frozen=True, array_like=True):
    """``wall``: the sender's own wall clock. ``ahead``: by how much what it believes to be the time of the cluster is
    ahead of it; None while it believes nothing yet."""

    wall: WallMillis
    ahead: Millis | None


class PeerFrame(msgspec.Struct, frozen=True, array_like=True):
    """``cancels``: ids of calls whose caller has gone."""

    messages: list[tuple[GroupId, Message]] = []
    calls: list[Call] = []
    replies: list[CallReply] = []
    cancels: list[int] = []
    clock: ClockReport | None = None


class Talk(msgspec.Struct, gc=False):
    """What one node wants to tell another besides Raft, gathered during a turn."""

    calls: list[Call] = msgspec.field(default_factory=list)
    replies: list[CallReply] = msgspec.field(default_factory=list)
    cancels: list[int] = msgspec.field(default_factory=list)

    def size(self) -> int:
        return sum(len(call.payload) for call in self.calls) + sum(len(reply.payload) for reply in self.replies)

    def parts(self) -> Iterator[Talk]:
        """The same in pieces, each small enough for one frame; at least one."""
        if self.size() <= _FRAME_TARGET:
            yield self
            return
        part, size = Talk(cancels=self.cancels), 0
        for call in self.calls:
            if size and size + len(call.payload) > _FRAME_TARGET:
                yield part
                part, size = Talk(), 0
            part.calls.append(call)
            size += len(call.payload)
        for reply in self.replies:
            if size and size + len(reply.payload) > _FRAME_TARGET:
                yield part
                part, size = Talk(), 0
            part.replies.append(reply)
            size += len(reply.payload)
        yield part


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PeerFrame)


def encode(
    messages: list[tuple[GroupId, Message]], talk: Talk | None = None, clock: ClockReport | None = None
) -> Iterator[bytes]:
    """One payload, or several when there is much to say; the last one carries ``talk``. Order of messages is kept."""
    start, size = 0, 0 if talk is None else talk.size()
    for position, (_, message) in enumerate(messages):
        if type(message) is Append:
            size += sum(len(entry.data) for entry in message.entries)
        if size > _FRAME_TARGET and position + 1 < len(messages):
            yield _encoder.encode(PeerFrame(messages[start : position + 1], clock=clock))
            start, size = position + 1, 0
    rest = messages[start:] if start else messages
    if talk is None:
        yield _encoder.encode(PeerFrame(rest, clock=clock))
    else:
        yield _encoder.encode(PeerFrame(rest, talk.calls, talk.replies, talk.cancels, clock))


def decode(payload: bytes | memoryview) -> PeerFrame:
    """Raises Malformed for anything that encode did not make."""
    frame = decoded(_decoder, payload, "a frame of messages and calls")
    for _, message in frame.messages:
        if not 0 <= message.term <= _LARGEST:
            raise Malformed(f"no group has come to term {message.term}")
    clock = frame.clock
    if clock is not None and not (0 <= clock.wall <= _LARGEST and abs(clock.ahead or 0) <= _LARGEST):
        raise Malformed(f"no clock shows {clock.wall}, {clock.ahead} ahead")
    return frame

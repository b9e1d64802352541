"""What a NORMAL log entry's data is: who asked what of which room, and when."""

from __future__ import annotations

import msgspec

from broker.base.instants import WallMillis

TICK_ROOM = ""


class RequestId(msgspec.Struct, frozen=True, array_like=True):
    """Makes a retried call safe: ``session`` (16 random bytes, one per client or stream) and a number that grows by
    one per call of the session. At most limits.SESSION_WINDOW calls of a session may be outstanding."""

    session: bytes
    number: int


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """``room`` names the machine within the group; TICK_ROOM: only let time pass. ``at``: the proposer's clock."""

    at: WallMillis
    room: str
    request: RequestId | None
    command: msgspec.Raw = msgspec.Raw(b"\xc0")
    """Nil for a tick: an empty Raw would be left out of the encoded array and make it unreadable."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def decode(data: bytes | memoryview) -> Envelope:
    """Raises msgspec.DecodeError when ``data`` is no envelope."""
    return _decoder.decode(data)

"""The simplest room there is: it counts, rings at a time it is told, and refuses the number thirteen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.machine.contract import Applied, Effect, Place, Wake


class Add(msgspec.Struct, frozen=True, array_like=True, tag=1):
    number: int


class RingAt(msgspec.Struct, frozen=True, array_like=True, tag=2):
    at: int


class Total(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What the room answers to everything; ``index`` and ``at`` are those of the command."""

    total: int
    index: int
    at: int


class No(msgspec.Struct, frozen=True, array_like=True, tag=2):
    refusal: Refusal


class CountingRoom:
    """Implements Machine."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.total = 0
        self.ring_at: int | None = None
        self.entries: list[int] = []
        self.time = 0

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        effects = self.advance(place.at)
        decoded = msgspec.msgpack.decode(command, type=Add | RingAt)
        if isinstance(decoded, RingAt):
            self.ring_at = decoded.at
        elif decoded.number == 13:
            return Applied(No(Refusal("InvalidArgument", "13 is no number")), effects)
        else:
            self.total += decoded.number
            self.entries.append(place.index)
        return Applied(Total(self.total, place.index, place.at), effects)

    def waits(self, command: bytes | memoryview) -> bool:
        return False

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:
        assert at >= self.time, "time does not go back"
        self.time = at
        if self.ring_at is None or self.ring_at > at:
            return ()
        self.ring_at = None
        return (Wake((self.key, 0)),)

    def query(self, question: Any, at: WallMillis) -> Any:
        return question, self.total, at

    def next_deadline(self) -> WallMillis | None:
        return None if self.ring_at is None else WallMillis(self.ring_at)

    def dump(self) -> Iterator[bytes]:
        return iter([msgspec.msgpack.encode((self.total, self.ring_at)), msgspec.msgpack.encode(self.entries), b""])

    def load(self, pieces: Iterable[bytes]) -> None:
        head, entries, empty = pieces
        assert empty == b""
        self.total, self.ring_at = msgspec.msgpack.decode(head)
        self.entries = msgspec.msgpack.decode(entries)

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return iter([(Index(each), Index(each)) for each in self.entries])

    def decode_reply(self, data: bytes | memoryview) -> Any:
        return msgspec.msgpack.decode(data, type=Total | No)

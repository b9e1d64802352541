"""One end of a connection between nodes without a network: bytes are put in, and how it ends is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from broker.aio.tasks import TaskScope
from broker.telemetry.metrics import Registry
from broker.transport.frames import header
from broker.transport.peer import Connection, Handler
from broker.transport.settings import MeshSettings
from broker.transport.traffic import Traffic


class _Socket:
    def setsockopt(self, *_: object) -> None:
        """What it does is the kernel's business."""


class Wire(asyncio.Transport):
    """The kernel's side of a connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4101), "socket": _Socket()})
        self.written = bytearray()
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class End:
    """A connection of a node, with whoever handles its frames."""

    def __init__(self, handler: Handler, scope: TaskScope, settings: MeshSettings | None = None) -> None:
        self.wire = Wire()
        self.connection = Connection(handler, settings or MeshSettings(), Traffic(Registry()), scope)
        self.connection.connection_made(self.wire)
        self.largest_buffer = 0

    def feed(self, data: bytes, sizes: Iterable[int] = ()) -> None:
        """As the event loop would: in pieces of these sizes, then the rest, until the connection has ended."""
        cuts = iter(sizes)
        while data and self.connection.open and not self.wire.closed:
            room = self.connection.get_buffer(-1)
            self.largest_buffer = max(self.largest_buffer, len(room.obj))  # type: ignore[arg-type]
            count = min(len(room), len(data), next(cuts, len(data)))
            room[:count] = data[:count]
            self.connection.buffer_updated(count)
            data = data[count:]

    def lose(self) -> None:
        self.connection.connection_lost(None)


def framed(kind: int, payload: bytes) -> bytes:
    return header(kind, payload) + payload


def damaged(data: bytes, position: int, flip: int, keep: int) -> bytes:
    """``data`` with the bits ``flip`` flipped at ``position``, and only its first ``keep`` bytes."""
    changed = bytearray(data[:keep] if keep else data)
    if changed:
        changed[position % len(changed)] ^= flip
    return bytes(changed)

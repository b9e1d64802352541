"""What the connections of the AWS port share: the limits, the time that clients are given, and the way to the app.

This room must not know which version of HTTP a connection speaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.instants import MINUTE, SECOND, Clock, Millis
from broker.base.limits import KIB, MIB
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.telemetry.metrics import Registry

Answer = Callable[[Request], Awaitable[Document]]


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in milliseconds.

    ``body``: a message of 1 MiB may be three times as long in a form or with escapes in JSON. ``bodies``: of all
    requests that are being read. ``streams``: requests at once on one connection of HTTP/2. ``idle``: between requests,
    and before the first; ``head``, ``body_time``: from its first byte to its last; ``writing``: for taking an answer.
    """

    connections: int = 12_000
    head_size: int = 64 * KIB
    body_size: int = 4 * MIB
    bodies_size: int = 256 * MIB
    streams: int = 128
    idle: Millis = Millis(2 * MINUTE)
    head: Millis = Millis(20 * SECOND)
    body: Millis = Millis(MINUTE)
    writing: Millis = Millis(MINUTE)


class Connection(Protocol):
    """``busy``: a request is being answered. ``expire``: the client took too long over something. ``drain``: end as
    soon as nothing is under way. ``give_up``: what is under way is not waited for any more."""

    @property
    def busy(self) -> bool: ...

    def expire(self) -> None: ...

    def drain(self) -> None: ...

    def give_up(self) -> None: ...

    def abort(self) -> None: ...


class Door:
    def __init__(self, answer: Answer, limits: Limits, clock: Clock, scope: TaskScope, registry: Registry) -> None:
        self.answer = answer
        self.limits = limits
        self.scope = scope
        self.draining = False
        self._clock = clock
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, Millis] = {}
        """Until when the client has time; who began to wait first stands first."""
        self.bodies = 0
        """Bytes of bodies held now."""
        self._second = -1
        self._date = b""
        self._gauge = registry.gauge("broker_aws_connections", "Connections open on the AWS port.")

    @property
    def connections(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> int:
        """Connections on which a request is being answered."""
        return sum(connection.busy for connection in self._open)

    def opened(self, connection: Connection) -> None:
        """When there are too many, the one that has been waiting for its client for longest makes room."""
        self._open.add(connection)
        if len(self._open) > self.limits.connections:
            (next(iter(self._waiting)) if self._waiting else connection).abort()
        self._gauge.value = len(self._open)

    def closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)
        self._gauge.value = len(self._open)

    def await_client(self, connection: Connection, time: Millis) -> None:
        """The client's turn: it has so long."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = Millis(self._clock.monotonic() + time)

    def heard(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)

    def expire(self) -> None:
        """Of those whose time is up. To be called about every second."""
        now = self._clock.monotonic()
        for connection in [each for each, until in self._waiting.items() if until <= now]:
            del self._waiting[connection]
            connection.expire()

    def take(self, size: int) -> bool:
        """Room for so many bytes of a body; False when all requests together have too many."""
        if self.bodies + size > self.limits.bodies_size:
            return False
        self.bodies += size
        return True

    def give_back(self, size: int) -> None:
        self.bodies -= size

    def drain(self) -> None:
        self.draining = True
        for connection in list(self._open):
            connection.drain()

    def give_up(self) -> None:
        for connection in list(self._open):
            connection.give_up()

    def abort(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def date(self) -> bytes:
        """For the header of that name."""
        second = self._clock.wall() // SECOND
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
        return self._date


def source_ip(transport: asyncio.BaseTransport) -> str:
    """Of the other end, without the zone of a link-local address, and of version 4 where that is meant; "" when it has
    none."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]).partition("%")[0].removeprefix("::ffff:") if isinstance(peer, tuple) else ""


STOPPING = Document(503, ((b"content-type", b"text/plain"),), b"this node is stopping: try another one\n")
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

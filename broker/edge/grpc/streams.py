"""What the two kinds of streams share: what they need from the server, and how the server asks all of them to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc.aio
import msgspec

from broker.aio.tasks import OnFailure, TaskScope
from broker.base.errors import Unavailable
from broker.base.instants import Clock, Millis
from broker.edge.grpc.errors import ErrorTable
from broker.services.queues import QueueService

Context = grpc.aio.ServicerContext[Any, Any]
Pause = Callable[[Millis], Awaitable[None]]


class Draining(Protocol):
    def drain(self) -> None:
        """Take on nothing new, finish what is under way, and end with Unavailable."""


class Surroundings(msgspec.Struct, frozen=True):
    """``scope`` outlives a stream: what must be finished after its client has gone runs there. ``fail`` is told of
    bugs."""

    queues: QueueService
    clock: Clock
    table: ErrorTable
    scope: TaskScope
    fail: OnFailure
    pause: Pause


class OpenStreams:
    def __init__(self) -> None:
        self._open: set[Draining] = set()
        self._draining = False

    def add(self, stream: Draining) -> None:
        """Raises Unavailable when the server is draining."""
        if self._draining:
            raise stopping()
        self._open.add(stream)

    def discard(self, stream: Draining) -> None:
        self._open.discard(stream)

    def drain(self) -> None:
        self._draining = True
        for stream in list(self._open):
            stream.drain()


def stopping() -> Unavailable:
    return Unavailable("this node is stopping: open the stream on another node")

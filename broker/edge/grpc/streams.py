"""What the two kinds of streams share: what they need from the server, and how the server asks all of them to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import grpc.aio
import msgspec

from broker.aio.tasks import OnFailure, TaskScope
from broker.base.errors import Unavailable
from broker.base.instants import SECOND, Clock, Millis
from broker.edge.grpc.calls import Unreadable
from broker.edge.grpc.errors import ErrorTable
from broker.services.queues import QueueService

Context = grpc.aio.ServicerContext[Any, Any]
Pause = Callable[[Millis], Awaitable[None]]


async def next_request(context: Context) -> Any:
    """Or grpc.aio.EOF. Raises InvalidArgument for one that cannot be read."""
    request = await context.read()
    if isinstance(request, Unreadable):
        raise request.error
    return request


class Draining(Protocol):
    def drain(self) -> None:
        """Take on nothing new, finish what is under way, and end with Unavailable."""


class Afterwards:
    """What must be finished even when the stream it belongs to has ended. ``scope`` outlives the server."""

    def __init__(self, scope: TaskScope) -> None:
        self._scope = scope
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._scope.start(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self, timeout: Millis) -> None:
        """Until all of it has ended, at most ``timeout`` ms."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout / SECOND)


class Surroundings(msgspec.Struct, frozen=True):
    """What a stream needs of its server. ``fail`` is told of bugs."""

    queues: QueueService
    clock: Clock
    table: ErrorTable
    afterwards: Afterwards
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

"""A server of grpc.aio that takes many new calls in a turn of the event loop.

One of grpc.aio asks gRPC for one new call, and for the next one five turns later. When turns are long, because there is
much to do, calls queue up inside gRPC, unseen by everything that could refuse them in time. This one always has many
calls asked for, and begins all that have come at once.

It stands on two methods of grpc.aio's own, ``_make_request_call_future`` and ``add_registered_method_handlers``. With a
version of grpcio that does not call them it serves as grpc.aio does, and a test fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]


@contextmanager
def calls_asked_ahead(count: int) -> Iterator[None]:
    """A server of grpc.aio that is made inside has ``count`` calls asked for."""
    plain: Any = cygrpc.AioServer
    cygrpc.AioServer = partial(_AskingAhead, count)
    try:
        yield
    finally:
        cygrpc.AioServer = plain


class _Next(asyncio.Future[Any]):
    """A new call. Whoever waits for one that is there already goes on at once, instead of two turns later."""

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Any = None) -> None:
        if self.done():
            fn(self)
        else:
            super().add_done_callback(fn, context=context)


class _AskingAhead(cygrpc.AioServer):  # type: ignore[misc]
    def __init__(self, count: int, loop: asyncio.AbstractEventLoop, *given: Any) -> None:
        super().__init__(loop, *given)
        self._count = count
        self._own_loop = loop
        self._asked = 0
        self._come: deque[asyncio.Task[Any]] = deque()
        self._next = _Next(loop=loop)

    def add_registered_method_handlers(self, method_handlers: object) -> None:
        """Not at all: gRPC keeps a queue for each method that is registered, of which one call is taken at a time. All
        methods are known to the generic handlers as well."""

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        """Called by the serving task for the first call, and when it has begun one, for the next one."""
        while self._asked < self._count:
            self._asked += 1
            super()._make_request_call_future(method).add_done_callback(self._has_come)
        self._next = _Next(loop=self._own_loop)
        if self._come:
            _hand_over(self._come.popleft(), self._next)
        return self._next

    async def shutdown(self, grace: float | None) -> None:
        """What has come and was not begun ends, as it would if it came now: nobody takes it any more."""
        self._come.clear()
        await super().shutdown(grace)

    def _has_come(self, call: asyncio.Task[Any]) -> None:
        self._asked -= 1
        if not self._next.done():
            _hand_over(call, self._next)
        elif self.is_running():
            self._come.append(call)
        elif not call.cancelled():
            call.exception()  # is no news: the server is stopping. A call ends with its task


def _hand_over(call: asyncio.Task[Any], to: asyncio.Future[Any]) -> None:
    if call.cancelled():
        to.cancel()
    elif (error := call.exception()) is not None:
        to.set_exception(error)
    else:
        to.set_result(call.result())

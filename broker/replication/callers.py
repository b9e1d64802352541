"""Who waits in the engine: callers for an answer of the core, long polls for something to happen. Bounded, both.

Long polls are many and cost nothing while they wait, so they do not take the room of those who have something to do.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from broker.base.errors import BrokerError, DeadlineExceeded, Overloaded
from broker.base.instants import Millis
from broker.base.limits import MIB
from broker.replication.timeouts import Timeouts

_FORGET_TIMEOUTS = 100_000
"""Time-outs of callers long answered that are kept until they fall due; callers may set very long ones."""


class CallerLimits(msgspec.Struct, frozen=True):
    """``pending`` callers with ``pending_bytes`` may wait for an answer, ``polls`` for something to happen."""

    pending: int = 20_000
    pending_bytes: int = 256 * MIB
    polls: int = 50_000


class Callers:
    """Tokens are numbers from 1, never used twice."""

    def __init__(self, limits: CallerLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._token = 0
        self._asking: dict[int, tuple[asyncio.Future[Any], int]] = {}
        """With the size of what was asked."""
        self._polling: dict[int, asyncio.Future[Any]] = {}
        self._size = 0
        self._timeouts = Timeouts()

    def ask(self, size: int, deadline: Millis) -> tuple[int, asyncio.Future[Any]]:
        """A caller with ``size`` bytes. ``leave`` when its future is done, or it has gone. Raises Overloaded."""
        asking, limits = self._asking, self._limits
        if len(asking) >= limits.pending or (asking and self._size + size > limits.pending_bytes):
            raise Overloaded(
                f"{len(asking)} requests with {self._size} bytes wait on this node already, of {limits.pending} with "
                f"{limits.pending_bytes} that may; nothing happened, retry after a pause"
            )
        self._token = token = self._token + 1
        future: asyncio.Future[Any] = self._loop.create_future()
        asking[token] = (future, size)
        self._size += size
        self._timeouts.add(token, deadline)
        if len(self._timeouts) > _FORGET_TIMEOUTS + 2 * len(asking):
            self._timeouts.keep(asking)
        return token, future

    def poll(self) -> tuple[int, asyncio.Future[Any]]:
        """One who waits without asking for anything. Raises Overloaded."""
        if len(self._polling) >= self._limits.polls:
            raise Overloaded(
                f"{len(self._polling)} long polls wait on this node, its limit; nothing happened, retry after a pause"
            )
        self._token = token = self._token + 1
        future = self._polling[token] = self._loop.create_future()
        return token, future

    def leave(self, token: int) -> None:
        found = self._asking.pop(token, None)
        if found is None:
            self._polling.pop(token, None)
        else:
            self._size -= found[1]

    def answer(self, token: int, reply: Any) -> None:
        future = self._future(token)
        if future is not None and not future.done():
            future.set_result(reply)

    def refuse(self, token: int, error: BrokerError) -> None:
        future = self._future(token)
        if future is not None and not future.done():
            future.set_exception(error)

    def refuse_all(self, error: BrokerError) -> None:
        for token in (*self._asking, *self._polling):
            self.refuse(token, error)

    def next_deadline(self) -> Millis | None:
        return self._timeouts.next_deadline()

    def wake(self, now: Millis) -> None:
        """Refuses those whose time is up."""
        for token in self._timeouts.wake(now):
            self.refuse(token, DeadlineExceeded("the time for this call is up; whether it took effect is unknown"))

    def _future(self, token: int) -> asyncio.Future[Any] | None:
        found = self._asking.get(token)
        return self._polling.get(token) if found is None else found[0]

"""How long a call waits before this node begins it, measured by calling itself.

While there is much to do, calls queue up before anything of ours sees them. So the node asks for its own health through
a socket of its own, some times a second as long as others call, and what has to wait says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from broker.aio.system_clock import microseconds
from broker.aio.tasks import OnFailure, TaskScope
from broker.base.instants import SECOND, Millis
from broker.edge.grpc.streams import Pause
from broker.telemetry.metrics import Gauge

EVERY = Millis(100)
AT_EASE_EVERY = Millis(500)
MANY = 10
"""Calls since the last look after which it is worth another one. With fewer, every AT_EASE-th time will do: a node that
stands still begins none, but hardly any node stands still that has so little to do."""
AT_EASE = 4
_METHOD = "/grpc.health.v1.Health/Check"
_GIVEN_UP = Millis(5 * SECOND)
_TURNED_AWAY = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED})
_TURNED_AWAY_COUNTS = 4
"""Times the target, as if the call had waited for so long."""


class DoorWatch:
    """``begun`` counts the calls and frames that were begun so far. ``late`` is told how long a call has waited, when
    that is more than ``target`` ms, again and again while it does; ``quick`` that it was less than half of that.
    ``gauge``: how long it was at the last look, in ms."""

    def __init__(
        self,
        begun: Callable[[], int],
        late: Callable[[Millis], None],
        quick: Callable[[], None],
        target: Millis,
        pause: Pause,
        gauge: Gauge,
        fail: OnFailure,
    ) -> None:
        self._begun = begun
        self._fail = fail
        self._late = late
        self._quick = quick
        self._target = target
        self._pause = pause
        self._gauge = gauge

    async def run(self, address: str) -> None:
        """Looks through the socket at ``address`` until it is cancelled."""
        async with grpc.aio.insecure_channel(address) as channel:
            check: Any = channel.unary_unary(
                _METHOD, request_serializer=health_pb2.HealthCheckRequest.SerializeToString
            )
            seen, rounds, busy = -MANY, 0, False
            while True:
                await self._pause(EVERY if busy else AT_EASE_EVERY)
                begun, rounds = self._begun(), rounds + 1
                busy = 4 * self._gauge.value > self._target or begun - seen >= MANY
                if begun != seen and (busy or rounds >= AT_EASE):
                    seen, rounds = begun, 0
                    self._gauge.value = await self._look(check)

    async def _look(self, check: Any) -> int:
        """How long it took, in ms; told while it takes too long."""
        started = microseconds()
        async with TaskScope("look at the door", self._fail) as scope:
            asked = scope.start(_ask(check), name="ask at the door")
            while not asked.done():
                await asyncio.wait([asked], timeout=self._target / SECOND)
                waited = Millis((microseconds() - started) // 1000)
                if asked.done() and asked.result():
                    waited = max(waited, Millis(_TURNED_AWAY_COUNTS * self._target))
                if waited > self._target:
                    self._late(waited)
                elif 2 * waited < self._target:
                    self._quick()
        return (microseconds() - started) // 1000


async def _ask(check: Any) -> bool:
    """Whether it was turned away: so many others wait that gRPC takes no more."""
    try:
        await check(health_pb2.HealthCheckRequest(), timeout=_GIVEN_UP / SECOND)
    except grpc.aio.AioRpcError as error:
        return error.code() in _TURNED_AWAY  # otherwise the node is stopping, or the call has waited for too long
    return False

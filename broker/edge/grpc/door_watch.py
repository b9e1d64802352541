"""How long a call waits before this node begins it, measured by calling itself.

While there is much to do, calls queue up inside gRPC, where nothing of ours sees them. So one door after the other is
asked for the node's health over a socket of its own, some times a second as long as others call, and what has to wait
says so. Once one is late several are asked together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import cycle
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
TOGETHER = 8
"""Doors that are asked at once when one was late."""
_METHOD = "/grpc.health.v1.Health/Check"
_GIVEN_UP = Millis(5 * SECOND)
_TURNED_AWAY = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED})
_TURNED_AWAY_COUNTS = 4
"""Times the target, as if the call had waited for so long."""


class DoorWatch:
    """``begun`` counts the calls and frames that were begun so far. ``late`` is told how long a call has waited, when
    that is more than ``target`` ms, again and again while it does. ``gauge``: the longest of the last look, in ms."""

    def __init__(
        self,
        begun: Callable[[], int],
        late: Callable[[Millis], None],
        target: Millis,
        pause: Pause,
        gauge: Gauge,
        fail: OnFailure,
    ) -> None:
        self._begun = begun
        self._fail = fail
        self._late = late
        self._target = target
        self._pause = pause
        self._gauge = gauge

    async def run(self, addresses: Sequence[str]) -> None:
        """Looks through the sockets at ``addresses`` until it is cancelled."""
        channels = [grpc.aio.insecure_channel(address) for address in addresses]
        try:
            checks: list[Any] = [
                channel.unary_unary(_METHOD, request_serializer=health_pb2.HealthCheckRequest.SerializeToString)
                for channel in channels
            ]
            seen, rounds, busy = -MANY, 0, False
            turns = cycle(checks)
            while True:
                await self._pause(EVERY if busy else AT_EASE_EVERY)
                begun, rounds = self._begun(), rounds + 1
                late = 4 * self._gauge.value > self._target
                busy = late or begun - seen >= MANY
                if begun != seen and (busy or rounds >= AT_EASE):
                    seen, rounds = begun, 0
                    self._gauge.value = await self._look(
                        [next(turns) for _ in range(min(TOGETHER, len(checks)) if late else 1)]
                    )
        finally:
            for channel in channels:
                await channel.close()

    async def _look(self, checks: list[Any]) -> int:
        started = microseconds()
        async with TaskScope("look at the doors", self._fail) as scope:
            pending = {scope.start(_ask(check), name=f"door {number}") for number, check in enumerate(checks)}
            while pending:
                answered, pending = await asyncio.wait(pending, timeout=self._target / SECOND)
                waited = Millis((microseconds() - started) // 1000)
                if any(each.result() for each in answered):
                    waited = max(waited, Millis(_TURNED_AWAY_COUNTS * self._target))
                if waited > self._target:
                    self._late(waited)
        return (microseconds() - started) // 1000


async def _ask(check: Any) -> bool:
    """Whether it was turned away: so many others wait that gRPC takes no more."""
    try:
        await check(health_pb2.HealthCheckRequest(), timeout=_GIVEN_UP / SECOND)
    except grpc.aio.AioRpcError as error:
        return error.code() in _TURNED_AWAY  # otherwise the node is stopping, or the call has waited for too long
    return False

"""A few clients that send and receive one message after the other, and how that goes over a stretch of time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec

from broker.client.client import Client
from broker.client.consumer import Consumer
from loadtest.filling import BODY
from loadtest.latency import Latencies

SENDERS = 8


class Stretch(msgspec.Struct, frozen=True):
    """``rate``: confirmed messages a second. Percentiles in milliseconds, from send to confirmation."""

    rate: float
    p50: float
    p99: float
    longest: float
    seconds: float


class Clients:
    """Each sends, waits for the confirmation, and sends again, while a consumer takes and deletes what comes."""

    def __init__(self, client: Client, queue: str) -> None:
        self._client = client
        self._queue = queue
        self._latencies = Latencies()
        self._begun = 0.0
        self._stopping = False

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Raises BrokerError if a sender saw any error."""
        async with asyncio.TaskGroup() as group, self._client.consume(self._queue) as consumer:
            consuming = group.create_task(self._consume(consumer))
            senders = [group.create_task(self._send()) for _ in range(SENDERS)]
            try:
                yield
            finally:
                self._stopping = True
            await asyncio.gather(*senders)
            consuming.cancel()

    def begin(self) -> None:
        self._latencies, self._begun = Latencies(), time.monotonic()

    def end(self) -> Stretch:
        """Since ``begin``."""
        seconds = time.monotonic() - self._begun
        found = self._latencies.percentiles()
        p50, p99, longest = (found[percentile] / 1_000 for percentile in (50.0, 99.0, 100.0))
        return Stretch(len(self._latencies) / seconds, p50, p99, longest, seconds)

    async def _send(self) -> None:
        while not self._stopping:
            begun = time.monotonic_ns()
            await self._client.send(self._queue, BODY)
            self._latencies.record(time.monotonic_ns() - begun)

    async def _consume(self, consumer: Consumer) -> None:
        async for message in consumer:
            message.ack()

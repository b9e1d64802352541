"""Steady traffic for tests that break things meanwhile: numbered messages go in, and the confirmed must come out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.client.status import ClusterStatus

VISIBILITY_SECONDS = 5.0
POLL_SECONDS = 0.1


class Traffic:
    """Sends to ``queue`` from entry to exit of the context; ``confirmed`` numbers are promises of the broker."""

    def __init__(self, client: Client, queue: str) -> None:
        self.queue = queue
        self.confirmed: set[int] = set()
        self.failed: dict[int, BrokerError] = {}
        self._client = client
        self._next = 0
        self._stop = False
        self._progress = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._client.create_queue(self.queue, visibility_timeout=VISIBILITY_SECONDS)
        self._lanes = [asyncio.ensure_future(self._send()) for _ in range(32)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        await asyncio.gather(*self._lanes)

    async def more(self, count: int, within: float = 30.0) -> None:
        """Until ``count`` more messages than now are confirmed."""
        goal = len(self.confirmed) + count
        async with asyncio.timeout(within):
            while len(self.confirmed) < goal:
                self._progress.clear()
                await self._progress.wait()

    async def _send(self) -> None:
        while not self._stop:
            number = self._next
            self._next += 1
            try:
                await self._client.send(self.queue, b"%d" % number)
            except BrokerError as error:
                self.failed[number] = error
            else:
                self.confirmed.add(number)
                self._progress.set()


async def drain(client: Client, queue: str, expected: int, within: float = 60.0) -> list[int]:
    """Receive and delete until ``expected`` different numbers were seen and the queue is empty.

    All numbers, in order of arrival, repetitions included.
    """
    received: list[int] = []
    seen: set[int] = set()
    async with asyncio.timeout(within):
        while len(seen) < expected or (await counts(client, queue)) > 0:
            messages = await client.receive(queue, max_messages=1000, wait=1.0)
            if messages:
                numbers = [int(message.body) for message in messages]
                received += numbers
                seen.update(numbers)
                await client.delete(queue, [message.receipt_handle for message in messages])
    return received


async def until(client: Client, done: Callable[[ClusterStatus], bool], within: float = 60.0) -> None:
    """Until the cluster says of itself what is waited for."""
    async with asyncio.timeout(within):
        while True:
            with contextlib.suppress(BrokerError):
                if done(await client.status()):
                    return
            await asyncio.sleep(POLL_SECONDS)


async def counts(client: Client, queue: str) -> int:
    found = (await client.describe_queue(queue)).counts
    return found.visible + found.in_flight + found.delayed


def check(traffic: Traffic, received: list[int]) -> None:
    """Nothing confirmed is lost; nothing arrives twice; nothing arrives that was not sent."""
    assert traffic.confirmed, "the test sent nothing"
    assert traffic.confirmed - set(received) == set(), "confirmed messages are missing"
    assert len(received) == len(set(received)), "messages arrived twice"
    assert set(received) <= traffic.confirmed | set(traffic.failed), "messages arrived that nobody sent"

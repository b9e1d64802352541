"""How long a queue's senders wait when its leader is killed, and when it falls silent: ``python -m loadtest.gaps``.

Three processes, 32 senders. The leader gets SIGKILL, in another run SIGSTOP (a machine that hangs, or a network that
drops everything); the longest time without a confirmation after the signal is the gap. A sender that sees an error ends
the run.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

import uvloop
from rich.console import Console
from rich.table import Table

from broker.client.client import Client
from loadtest.cluster import LocalCluster

QUEUE = "gaps"
SENDERS = 32
BEFORE_SECONDS = 3.0
AFTER_SECONDS = 5.0
LIMITS = {signal.SIGKILL: 0.3, signal.SIGSTOP: 2.0}


class Senders:
    """Each sends, waits for the confirmation, and sends again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last = time.monotonic()
        self._stopping = False
        self.confirmed = 0
        self.longest = 0.0

    async def run(self) -> None:
        await asyncio.gather(*(self._send() for _ in range(SENDERS)))

    def watch(self) -> None:
        """The gap counts from now on."""
        self.longest, self._last = 0.0, time.monotonic()

    def stop(self) -> None:
        self._stopping = True

    async def _send(self) -> None:
        while not self._stopping:
            await self._client.send(QUEUE, b"x" * 100)
            now = time.monotonic()
            self.longest, self._last = max(self.longest, now - self._last), now
            self.confirmed += 1


async def measure(number: signal.Signals) -> tuple[int, float]:
    """Messages confirmed in all, and the gap in seconds. Raises BrokerError if a sender saw any error."""
    async with LocalCluster() as cluster, Client(cluster.addresses) as client:
        await client.create_queue(QUEUE)
        senders = Senders(client)
        async with asyncio.TaskGroup() as group:
            group.create_task(senders.run())
            await asyncio.sleep(BEFORE_SECONDS)
            pid = cluster.nodes[(await client.describe_queue(QUEUE)).leader].pid
            assert pid is not None
            os.kill(pid, number)
            senders.watch()
            await asyncio.sleep(AFTER_SECONDS)
            if number is signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
            senders.stop()
        return senders.confirmed, senders.longest


async def main() -> None:
    table = Table("the leader gets", "confirmed", "gap", "limit", "")
    for number, limit in LIMITS.items():
        confirmed, gap = await measure(number)
        table.add_row(
            number.name, f"{confirmed:,}", f"{gap:.2f} s", f"{limit:g} s", "met" if gap <= limit else "missed"
        )
    Console().print(table)


if __name__ == "__main__":
    uvloop.run(main())

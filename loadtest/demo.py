"""The demonstration: a file's lines go through a three-zone queue while the leader's process is killed with -9.

Every line is numbered, so that a line that is missing, repeated or changed is found.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.client.consumer import Consumer
from broker.client.model import SentMessage
from loadtest.cluster import BrokerProcess, LocalCluster, wait_ready
from loadtest.lines import take_lines
from loadtest.report import explain_losses, verdict_table
from loadtest.verifier import Verifier

QUEUE = "demo"
VISIBILITY_SECONDS = 5.0
KILL_AT = 0.5
RESTART_AT = 0.75
DRAIN_SECONDS = 60.0


class Gaps:
    """The longest time between one event and the next."""

    def __init__(self) -> None:
        self._last: float | None = None
        self.longest = 0.0

    def event(self) -> None:
        now = time.monotonic()
        if self._last is not None:
            self.longest = max(self.longest, now - self._last)
        self._last = now


class Demo:
    def __init__(self, cluster: LocalCluster, client: Client, lines: list[bytes], console: Console) -> None:
        self._cluster = cluster
        self._client = client
        self._lines = lines
        self._console = console
        self.verifier = Verifier(producers=1)
        self.confirmations = Gaps()
        self.deliveries = Gaps()
        self.changed = 0
        """Lines that came back other than they were sent."""
        self._confirmed = 0
        self._settled = 0
        self._received = 0
        self._news = asyncio.Event()
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._sending_bar = self._progress.add_task("confirmed", total=len(lines))
        self._receiving_bar = self._progress.add_task("received", total=len(lines))

    async def run(self) -> None:
        await self._client.create_queue(QUEUE, visibility_timeout=VISIBILITY_SECONDS)
        async with self._client.consume(QUEUE, prefetch=2_000) as consumer:
            with self._progress:
                async with asyncio.TaskGroup() as group:
                    receiving = group.create_task(self._receive(consumer))
                    group.create_task(self._interfere())
                    group.create_task(self._show())
                    await self._send()
                    await self._drain()
                    consumer.stop()
                    await receiving
                    self._news.set()
            await consumer.flush()

    async def _send(self) -> None:
        producer = self._client.producer(QUEUE)
        for number, line in enumerate(self._lines):
            self.verifier.sent(0, number)
            future = await producer.enqueue(numbered(number, line))
            future.add_done_callback(partial(self._told, number))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await producer.close()

    def _told(self, number: int, future: asyncio.Future[SentMessage]) -> None:
        self._settled += 1
        if isinstance(future.exception(), BrokerError):
            self.verifier.failed(0)
        else:
            self._confirmed += 1
            self.verifier.confirmed(0, number)
            self.confirmations.event()
        self._news.set()

    async def _receive(self, consumer: Consumer) -> None:
        async for message in consumer:
            number, line = split(message.body)
            if self.verifier.received(0, number):
                self._received += 1
                self.changed += line != self._lines[number]
                self.deliveries.event()
            message.ack()
            self._news.set()

    async def _interfere(self) -> None:
        """Kills the queue's leader midway, and starts it again when it has been missed for a while."""
        await self._until(KILL_AT)
        leader = self._cluster.nodes[(await self._client.describe_queue(QUEUE)).leader]
        pid = leader.pid
        leader.kill()
        self._say(f"killed -9 the leader, node {leader.id} of zone {leader.settings.zone}, process {pid}")
        await self._until(RESTART_AT)
        await self._restart(leader)

    async def _restart(self, node: BrokerProcess) -> None:
        await node.ended(5.0)
        node.start()
        self._say(f"started node {node.id} again, process {node.pid}")
        await wait_ready(node)
        self._say(f"node {node.id} is ready")

    async def _until(self, share: float) -> None:
        while self._settled < share * len(self._lines):
            self._news.clear()
            await self._news.wait()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self.verifier.outstanding:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._say(f"gave up waiting for {self.verifier.outstanding:,} messages after {DRAIN_SECONDS:g} s")

    async def _show(self) -> None:
        while self._settled < len(self._lines) or self.verifier.outstanding:
            self._update_bars()
            await asyncio.sleep(0.1)
        self._update_bars()

    def _update_bars(self) -> None:
        self._progress.update(self._sending_bar, completed=self._confirmed)
        self._progress.update(self._receiving_bar, completed=self._received)

    def _say(self, what: str) -> None:
        self._progress.console.print(what)


def numbered(number: int, line: bytes) -> bytes:
    return b"%d %b" % (number, line)


def split(body: bytes) -> tuple[int, bytes]:
    """Raises ValueError for a body that ``numbered`` did not make."""
    number, _, line = body.partition(b" ")
    return int(number), line


async def demo(count: int, folder: Path | None, console: Console) -> bool:
    """Whether every line arrived as it was sent."""
    lines = take_lines(count)
    console.print(
        f"{count:,} lines of Python's standard library, {sum(map(len, lines)):,} bytes. Starting three nodes ..."
    )
    async with LocalCluster(folder) as cluster, Client(cluster.addresses) as client:
        performance = Demo(cluster, client, lines, console)
        begun = time.monotonic()
        await performance.run()
        seconds = time.monotonic() - begun
    verdict = performance.verifier.verdict()
    extra = {
        "changed": f"{performance.changed:,}",
        "longest gap, confirmations": f"{performance.confirmations.longest:.2f} s",
        "longest gap, deliveries": f"{performance.deliveries.longest:.2f} s",
        "messages per second": f"{verdict.received / seconds:,.0f}",
    }
    console.print(verdict_table(verdict, extra))
    explain_losses(console, verdict)
    return verdict.lost == 0 and verdict.failed == 0 and performance.changed == 0

"""What thousands of queues cost: ``python -m loadtest.many``. Three nodes on this machine.

Making them, idling with them, listing them page by page, scraping the metrics, writing snapshots, restarting. "Own"
pauses of a node's event loop are those that no other process on the machine caused.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from broker.base.addresses import split_address
from broker.base.limits import LIST_PAGE
from broker.client.client import Client
from loadtest import cpu
from loadtest.cluster import BrokerProcess, ClusterError, LocalCluster, wait_ready
from loadtest.figures import Figure, load_average, table
from loadtest.filling import some_at_once
from loadtest.memory import resident_by
from loadtest.watched import PROGRAM, Watched, pause_figure, watching

CREATED_AT_ONCE = 64
IDLE_SECONDS = 30.0
SETTLE_SECONDS = 6.0
QUEUE = "many-{:05}"
PREFIX = "many-"
LISTING_MS = 50.0
SNAPSHOT_AFTER_ENTRIES = 250
"""Entries of a group between snapshots, while those are looked at."""
MORE_QUEUES = 500
"""Their making brings snapshots of the directory."""
SENT = 6_000
"""Messages, one an entry, over all groups: these bring snapshots of the queues."""


class Many:
    def __init__(self, cluster: LocalCluster, client: Client, queues: int, console: Console) -> None:
        self._cluster = cluster
        self._client = client
        self._queues = queues
        self._console = console
        self.figures: list[Figure] = []

    async def measure(self) -> None:
        await self._idle("before there are any")
        await self._make()
        await asyncio.sleep(SETTLE_SECONDS)
        await self._idle(f"with {self._queues:,} queues")
        await self._list()
        await self._scrape()
        await self._restart()
        await self._snapshots()

    # --- the steps

    async def _make(self) -> None:
        """Many at once, as somebody does who sets up a cluster."""
        resident = resident_by(self._cluster.pids())
        begun = time.monotonic()
        async with watching(self._cluster) as watched:
            spent = await self._spent(lambda: self._create(range(self._queues)))
        seconds = time.monotonic() - begun
        grown = {node: size - resident[node] for node, size in resident_by(self._cluster.pids()).items()}
        sizes = ", ".join(f"{node} {size / self._queues / 1_000:.1f} kB" for node, size in grown.items())
        detail = f"{self._queues:,}, {CREATED_AT_ONCE} at once, in {seconds:.1f} s; memory of each: {sizes}"
        each = sum(spent.values()) / self._queues / 1_000
        self._note(Figure("making a queue, CPU of all nodes", each, 5.0, "ms", detail))
        self._note_pause("queues are made", watched)

    async def _idle(self, when: str) -> None:
        spent = await self._spent(lambda: asyncio.sleep(IDLE_SECONDS))
        shares = {node: used / IDLE_SECONDS / 10_000 for node, used in spent.items()}
        detail = ", ".join(f"{node} {share:.2f} %" for node, share in shares.items()) + f", over {IDLE_SECONDS:g} s"
        self._note(Figure(f"idle, {when}", max(shares.values()), 3.0, "% of a core", detail))

    async def _list(self) -> None:
        found: list[str] = []
        async with watching(self._cluster) as watched:
            begun = time.monotonic()
            spent = await self._spent(lambda: self._listed(found))
            seconds = time.monotonic() - begun
        if len(found) < self._queues or found != sorted(set(found)):
            raise ClusterError(f"{len(found)} names were listed, of {self._queues} queues")
        pages = -(-len(found) // LIST_PAGE)
        detail = f"{len(found):,} names in {pages} pages of {LIST_PAGE:,}, {seconds * 1_000 / pages:.0f} ms each"
        self._note(
            Figure("listing a page, CPU of all nodes", sum(spent.values()) / pages / 1_000, LISTING_MS, "ms", detail)
        )
        self._note_pause("queues are listed", watched)

    async def _listed(self, found: list[str]) -> None:
        found.extend([name async for name in self._client.list_queues(PREFIX)])

    async def _scrape(self) -> None:
        """Of all nodes, one after the other, as Prometheus does."""
        sizes: list[int] = []

        async def scrapes() -> None:
            sizes.extend([(await scrape(node))[0] for node in self._cluster.nodes.values()])

        async with watching(self._cluster) as watched:
            begun = time.monotonic()
            spent = await self._spent(scrapes)
            seconds = time.monotonic() - begun
            await asyncio.sleep(1.0)
        detail = (
            f"{seconds / len(sizes):.2f} s and {sum(spent.values()) / len(sizes) / 1_000_000:.2f} s of CPU each, "
            f"{sum(sizes) / len(sizes) / 1_048_576:.1f} MiB"
        )
        self._note_pause("metrics are scraped", watched, detail)

    async def _restart(self) -> None:
        """After SIGKILL, as a crash; the nodes one after the other. From then on, they write snapshots often."""
        times = []
        for node in self._cluster.nodes.values():
            node.kill()
            await node.ended(10.0)
            node.configure(msgspec.structs.replace(node.settings, snapshot_after_entries=SNAPSHOT_AFTER_ENTRIES))
            begun = time.monotonic()
            node.start()
            await wait_ready(node, 120.0)
            assert node.pid is not None
            times.append((time.monotonic() - begun, cpu.used_us(node.pid) / 1_000_000))
            await asyncio.sleep(SETTLE_SECONDS)
        seconds, cpu_seconds = max(times)
        detail = f"the slowest of {len(times)} nodes; {cpu_seconds:.1f} s of CPU"
        self._note(Figure(f"restart with {self._queues:,} queues", seconds, 15.0, "s", detail))

    async def _snapshots(self) -> None:
        """Of the directory and of the groups that hold the queues."""
        before = await self._snapshots_written()
        async with watching(self._cluster) as watched:
            await self._create(range(self._queues, self._queues + MORE_QUEUES))
            await self._send(SENT)
            await asyncio.sleep(SETTLE_SECONDS)
        detail = f"{await self._snapshots_written() - before:.0f} snapshots on three nodes"
        self._note_pause("snapshots are written", watched, detail)

    # --- inside

    async def _create(self, numbers: Iterable[int]) -> None:
        async def create(number: int) -> None:
            await self._client.create_queue(QUEUE.format(number))

        await some_at_once((create(number) for number in numbers), CREATED_AT_ONCE)

    async def _send(self, count: int) -> None:
        """To as many queues as are made at once, which lie in all groups."""

        async def send(number: int) -> None:
            await self._client.send(QUEUE.format(number % CREATED_AT_ONCE), b"x" * 100)

        await some_at_once((send(number) for number in range(count)), CREATED_AT_ONCE)

    async def _snapshots_written(self) -> float:
        texts = [(await scrape(node))[1] for node in self._cluster.nodes.values()]
        return sum(value_in(text, 'broker_engine_total{kind="snapshots_written"}') for text in texts)

    async def _spent(self, work: Callable[[], Awaitable[None]]) -> dict[str, int]:
        """CPU microseconds of each node meanwhile."""
        before = cpu.used_by(self._cluster.pids())
        await work()
        after = cpu.used_by(self._cluster.pids())
        return {node: after[node] - before[node] for node in after}

    def _note_pause(self, what: str, watched: Watched, detail: str = "") -> None:
        self._note(pause_figure(what, watched, detail))

    def _note(self, figure: Figure) -> None:
        self.figures.append(figure)
        self._console.print(f"{figure.name}: {figure.value:.3g} {figure.unit}; {figure.detail} ({load_average()})")


async def scrape(node: BrokerProcess) -> tuple[int, str]:
    """Bytes of a node's metrics, and their text. Raises ClusterError."""
    host, port = split_address(node.settings.admin_listen)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head:
        raise ClusterError(f"the metrics of {node.id} cannot be read: {head.decode(errors='replace')}")
    return len(body), body.decode()


def value_in(text: str, series: str) -> float:
    """Of one series in a text for Prometheus. Raises ClusterError when it is not there."""
    for line in text.splitlines():
        if line.startswith(f"{series} "):
            return float(line.rpartition(" ")[2])
    raise ClusterError(f"the metrics have no {series}")


async def run(queues: int, folder: Path | None, console: Console) -> bool:
    """Whether all targets were met."""
    async with LocalCluster(folder, PROGRAM) as cluster, Client(cluster.addresses) as client:
        many = Many(cluster, client, queues, console)
        await many.measure()
    console.print(table(f"{queues:,} queues", "three nodes", many.figures))
    return all(figure.met for figure in many.figures)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.many", description=__doc__)
    parser.add_argument("--queues", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    chosen = parser.parse_args()
    met = uvloop.run(run(chosen.queues, chosen.folder, Console()))
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()

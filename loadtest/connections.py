"""Ten thousand idle connections to one node, and a thousand new ones a second: python -m loadtest.connections.

What a connection costs in memory, what all of them cost in CPU while they do nothing, and what a client that works
notices of them. The connections are raw sockets that speak just enough HTTP/2 to be there.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import msgspec
from rich.console import Console

from broker.client.client import Client
from loadtest import cpu
from loadtest.cluster import LocalCluster
from loadtest.crowd import Crowd, CrowdError, raise_open_files
from loadtest.figures import Figure, load_average, table
from loadtest.latency import Latencies
from loadtest.memory import resident_bytes

QUEUE = "connections"
RATE = 100
"""Sends per second of the client that works."""
MEMORY_TARGET_KIB = 64.0
CPU_TARGET_PERCENT = 5.0
P99_TARGET_MS = 50.0
IDLE_SECONDS = 25.0
"""Longer than the interval in which a node asks every connection whether it is still there."""


class Watched(msgspec.Struct):
    """What the working client and the node's process showed in a span."""

    p50_ms: float
    p99_ms: float
    cpu_percent: float
    failed: int


class Meter:
    def __init__(self, client: Client, pid: int) -> None:
        self._client = client
        self._pid = pid

    async def watch(self, seconds: float) -> Watched:
        """Sends at an even rate, whatever becomes of it; latencies count from the due time."""
        latencies, failed = Latencies(), 0
        producer = self._client.producer(QUEUE)
        used, begun = cpu.used_us(self._pid), time.monotonic()

        async def one(due: float) -> None:
            nonlocal failed
            try:
                await producer.send(b"x" * 1024)
            except Exception:  # counted, whatever it was
                failed += 1
            else:
                latencies.record(round((time.monotonic() - due) * 1e9))

        async with asyncio.TaskGroup() as group:
            for number in range(round(RATE * seconds)):
                due = begun + number / RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(one(due))
        spent = time.monotonic() - begun
        found = latencies.percentiles() or {50.0: 0, 99.0: 0}
        percent = (cpu.used_us(self._pid) - used) / spent / 1e4
        await producer.close()
        return Watched(found[50.0] / 1000, found[99.0] / 1000, percent, failed)


async def measure(connections: int, rate: int, seconds: float, console: Console) -> list[Figure]:
    async with LocalCluster() as cluster, Client(cluster.addresses) as client:
        await client.create_queue(QUEUE)
        leader = (await client.describe_queue(QUEUE)).leader
        node = cluster.nodes[leader]
        assert node.pid is not None
        meter = Meter(client, node.pid)
        await meter.watch(2.0)
        console.print(f"measuring node {leader} without them ...")
        alone = await meter.watch(seconds)
        before = resident_bytes(node.pid)
        with Crowd(node.settings.client_listen) as crowd:
            held = await asyncio.to_thread(crowd.hold, connections)
            console.print(f"{held.made:,} connections in {held.seconds:.1f} s, {held.failed:,} failed")
            full = resident_bytes(node.pid)
            idle = await meter.watch(max(seconds, IDLE_SECONDS))
            left = await asyncio.to_thread(crowd.disperse)
            console.print(f"{left.made:,} were there at the end, {left.failed:,} had been closed")
            coming = asyncio.to_thread(crowd.come_and_go, rate, seconds)
            came, stormy = await asyncio.gather(coming, meter.watch(seconds))
            console.print(f"{came.made:,} came and went in {came.seconds:.1f} s, {came.failed:,} failed")
            after = resident_bytes(node.pid)
    each = (full - before) / max(1, held.made) / 1024
    return [
        Figure("connections that were refused or lost", held.failed + left.failed, 0, "", f"of {connections:,}"),
        Figure("memory of an idle connection", each, MEMORY_TARGET_KIB, "KiB", f"{held.made:,} of them"),
        Figure(
            "CPU for idle connections",
            idle.cpu_percent - alone.cpu_percent,
            CPU_TARGET_PERCENT,
            "% of a core",
            f"the node with its client: {alone.cpu_percent:.1f} % without, {idle.cpu_percent:.1f} % with them",
        ),
        _p99("p99 of a send beside idle connections", idle, alone),
        Figure(f"new connections that failed, {rate:,} a second", came.failed, 0, "", f"{came.made:,} were made"),
        _p99(f"p99 of a send beside {rate:,} new connections a second", stormy, alone),
        Figure("sends that failed", alone.failed + idle.failed + stormy.failed, 0, ""),
        Figure("memory left when all were gone", (after - before) / 1024**2, 256, "MiB"),
    ]


def _p99(name: str, found: Watched, alone: Watched) -> Figure:
    detail = f"p50 {found.p50_ms:.2f} ms; without them p50 {alone.p50_ms:.2f}, p99 {alone.p99_ms:.2f} ms"
    if found is not alone:
        detail += f"; the node took {found.cpu_percent:.0f} % of a core"
    return Figure(name, found.p99_ms, max(P99_TARGET_MS, 3 * alone.p99_ms), "ms", detail)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.connections", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="idle connections to one node")
    parser.add_argument("--rate", type=int, default=1_000, help="new connections a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each span that is measured")
    given = parser.parse_args()
    console = Console(width=120)
    try:
        raise_open_files(given.connections)
    except CrowdError as error:
        raise SystemExit(str(error)) from None
    figures = asyncio.run(measure(given.connections, given.rate, given.seconds, console))
    title = f"One node of three, {given.connections:,} idle connections; {load_average()}"
    console.print(table(title, "what", figures))
    raise SystemExit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    main()

"""What a backlog costs: ``python -m loadtest.backlog``. Three nodes on this machine, messages of 1 KiB.

Memory for each idle message, in frames of 100 and one by one; sending, receiving and deleting behind a million others;
restarting, purging and expiring a million; a follower that missed a million. "Own" pauses of a node's event loop are
those that no other process on the machine caused. Needs about 4 KiB of disk for each message.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console

from broker.client.client import Client
from loadtest import cpu
from loadtest.clients import Clients, Stretch
from loadtest.cluster import BrokerProcess, LocalCluster, wait_ready
from loadtest.figures import Figure, load_average, more_than, table
from loadtest.filling import FRAME_MESSAGES, Costs, Filling, middle
from loadtest.memory import growth_per_item, resident_by
from loadtest.watched import PROGRAM, Watched, pause_figure, watching

BACKLOG, EMPTY, SINGLES, CLIENTS, EXPIRING = "backlog", "empty", "singles", "clients", "expiring"
VISIBILITY_SECONDS = 600.0
RETENTION_SECONDS = 60.0
WARM_UP = 200_000
"""Messages that fill the caches, whose size is bounded, and make the queue's leader know what leading it takes."""
SAMPLES = 8
COSTED = 50_000
ROUNDS = 3
SETTLE_SECONDS = 6.0
"""Enough for what follows a snapshot: forgetting dead entries, moving live ones."""
BASELINE_SECONDS = 15.0
POLL_SECONDS = 0.1


class Backlog:
    def __init__(self, cluster: LocalCluster, client: Client, messages: int, singles: int, console: Console) -> None:
        self._cluster = cluster
        self._client = client
        self._filling = Filling(cluster, client)
        self._messages = messages
        self._singles = singles
        self._console = console
        self.figures: list[Figure] = []

    async def measure(self, steps: list[str]) -> None:
        for name in (BACKLOG, EMPTY, SINGLES):
            await self._client.create_queue(name, visibility_timeout=VISIBILITY_SECONDS)
        for name in (CLIENTS, EXPIRING):
            await self._client.create_queue(name, beside=BACKLOG)
        for step in steps:
            await STEPS[step](self)

    # --- the steps

    async def memory(self) -> None:
        await self._memory(BACKLOG, self._messages, FRAME_MESSAGES)

    async def memory_of_singles(self) -> None:
        await self._memory(SINGLES, self._singles, 1)

    async def costs(self) -> None:
        """In turns, so that what else the machine does hits both."""
        await self._client.purge(EMPTY)
        empty, behind = [], []
        for _ in range(ROUNDS):
            empty.append(await self._filling.costs(EMPTY, COSTED))
            behind.append(await self._filling.costs(BACKLOG, COSTED))
        one, other = middle(empty), middle(behind)
        for name in Costs.__struct_fields__:
            before, after = getattr(one, name), getattr(other, name)
            detail = f"{before:.1f} us of all brokers on an empty queue, {after:.1f} us on the backlog"
            self._note(Figure(f"{name} costs more by", more_than(before, after), 20.0, "%", detail))

    async def restart(self) -> None:
        """After SIGKILL, as a crash, of the node that leads the backlog and of another one."""
        leader = await self._filling.leader(BACKLOG)
        other = next(node for node in self._cluster.nodes if node != leader)
        for what, name in (("a follower", other), ("the leader", leader)):
            node = self._cluster.nodes[name]
            node.kill()
            await node.ended(10.0)
            seconds, cpu_seconds = await self._started(node)
            detail = f"from exec to ready; {cpu_seconds:.1f} s of CPU"
            self._note(Figure(f"restart of {what}, {self._held():,} messages", seconds, 15.0, "s", detail))
            await self._caught_up()

    async def catching_up(self) -> None:
        """Clients work on the group whose snapshot travels."""
        leader = await self._filling.leader(BACKLOG)
        follower = next(node for name, node in self._cluster.nodes.items() if name != leader)
        follower.terminate()
        await follower.ended(30.0)
        await self._filling.fill(BACKLOG, self._messages)
        clients = Clients(self._client, CLIENTS)
        async with clients.working(), watching(self._cluster) as watched:
            await asyncio.sleep(SETTLE_SECONDS)
            clients.begin()
            await asyncio.sleep(BASELINE_SECONDS)
            alone = clients.end()
            begun = time.monotonic()
            await self._started(follower)
            ready = time.monotonic() - begun
            clients.begin()
            await self._caught_up()
            during = clients.end()
            await asyncio.sleep(SETTLE_SECONDS)
            clients.begin()
            await asyncio.sleep(BASELINE_SECONDS)
            after = clients.end()
        self._note_slowed(alone, during, after, ready)
        self._note_pause(f"a follower that missed {self._messages:,} catches up", watched)

    async def purge(self) -> None:
        held = (await self._client.describe_queue(BACKLOG)).counts.visible
        async with watching(self._cluster) as watched:
            begun = time.monotonic()
            await self._client.purge(BACKLOG)
            seconds = time.monotonic() - begun
            await asyncio.sleep(SETTLE_SECONDS)
        self._note(Figure(f"purge of {held:,}", seconds, 1.0, "s"))
        self._note_pause(f"purge of {held:,}", watched)

    async def expiry(self) -> None:
        """All at once, which is worse than little by little: the retention ends for a queue that has long been full."""
        await self._filling.fill(EXPIRING, self._messages)
        await asyncio.sleep(RETENTION_SECONDS + 1.0)
        async with watching(self._cluster) as watched:
            await self._client.update_queue(EXPIRING, retention=RETENTION_SECONDS)
            await self._emptied(EXPIRING)
            await asyncio.sleep(SETTLE_SECONDS)
        expired = (await self._client.describe_queue(EXPIRING)).counts.expired_total
        self._note_pause(f"{expired:,} expire", watched)

    # --- inside

    async def _memory(self, queue: str, count: int, per_frame: int) -> None:
        """Growth of the resident memory of each node while the queue grows, without what is in the caches at once."""
        await self._filling.fill(queue, WARM_UP, per_frame)
        samples: dict[str, list[tuple[int, int]]] = {node: [] for node in self._cluster.nodes}
        async with watching(self._cluster) as watched:
            for part in range(SAMPLES + 1):
                if part:
                    await self._filling.fill(queue, count // SAMPLES, per_frame)
                await asyncio.sleep(SETTLE_SECONDS)
                for node, size in resident_by(self._cluster.pids()).items():
                    samples[node].append((part * (count // SAMPLES), size))
        growth = {node: growth_per_item(found) for node, found in samples.items()}
        sizes = ", ".join(
            f"{node} {growth[node]:.1f} bytes ({found[0][1] >> 20} to {found[-1][1] >> 20} MiB)"
            for node, found in samples.items()
        )
        how = "one by one" if per_frame == 1 else f"in frames of {per_frame}"
        self._note(Figure(f"memory of each of {count:,} messages, {how}", max(growth.values()), 32.0, "bytes", sizes))
        self._note_pause(f"{count:,} messages sent {how}", watched)

    async def _started(self, node: BrokerProcess) -> tuple[float, float]:
        """Seconds until it is ready, and of CPU."""
        begun = time.monotonic()
        node.start()
        await wait_ready(node, 120.0)
        assert node.pid is not None
        return time.monotonic() - begun, cpu.used_us(node.pid) / 1_000_000

    async def _emptied(self, queue: str) -> None:
        while True:
            if not (await self._client.describe_queue(queue)).counts.visible:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _caught_up(self) -> None:
        """Until no replica lags behind, but for what is on its way anyhow."""
        while True:
            status = await self._client.status()
            reachable = all(node.reachable for node in status.nodes)
            if reachable and all(replica.lag < 100 for group in status.groups for replica in group.replicas):
                return
            await asyncio.sleep(POLL_SECONDS)

    def _held(self) -> int:
        return self._messages + self._singles

    def _note_slowed(self, alone: Stretch, during: Stretch, after: Stretch, ready: float) -> None:
        """Against afterwards: then, too, three nodes do the work, on the same machine."""
        detail = (
            f"{alone.rate:,.0f} messages/s with two nodes, {during.rate:,.0f} during {during.seconds:.1f} s, "
            f"{after.rate:,.0f} after; the node was ready after {ready:.1f} s"
        )
        self._note(Figure("catching up slows clients by", -more_than(after.rate, during.rate), 20.0, "%", detail))
        detail = (
            f"p50 {alone.p50:.1f}, {during.p50:.1f}, {after.p50:.1f} ms; p99 {alone.p99:.1f}, {during.p99:.1f}, "
            f"{after.p99:.1f} ms"
        )
        self._note(Figure("its p99 grows by", more_than(after.p99, during.p99), 20.0, "%", detail))

    def _note_pause(self, what: str, watched: Watched) -> None:
        self._note(pause_figure(what, watched))

    def _note(self, figure: Figure) -> None:
        self.figures.append(figure)
        self._console.print(f"{figure.name}: {figure.value:.3g} {figure.unit}; {figure.detail} ({load_average()})")


STEPS: dict[str, Callable[[Backlog], Awaitable[None]]] = {
    "memory": Backlog.memory,
    "singles": Backlog.memory_of_singles,
    "costs": Backlog.costs,
    "restart": Backlog.restart,
    "catching-up": Backlog.catching_up,
    "purge": Backlog.purge,
    "expiry": Backlog.expiry,
}
"""By name, in the order in which they make sense; all but the first need a backlog."""


async def run(messages: int, singles: int, steps: list[str], folder: Path | None, console: Console) -> bool:
    """Whether all targets were met."""
    async with LocalCluster(folder, PROGRAM) as cluster, Client(cluster.addresses) as client:
        backlog = Backlog(cluster, client, messages, singles, console)
        await backlog.measure(steps)
    console.print(table(f"A backlog of {messages:,} messages of 1 KiB", "three nodes", backlog.figures))
    return all(figure.met for figure in backlog.figures)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.backlog", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--singles", type=int, default=1_000_000, help="messages that are sent one by one")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    chosen = parser.parse_args()
    met = uvloop.run(run(chosen.messages, chosen.singles, chosen.steps, chosen.folder, Console()))
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()

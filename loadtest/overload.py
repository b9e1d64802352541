"""Three times what the cluster can do, for a while: python -m loadtest.overload.

Finds the rate that three nodes on this machine sustain, offers it, then three times as much from other processes, and
looks at what was accepted and refused, how long the accepted waited, how much memory the brokers took, whether receives
and deletes went on, how soon all was well again, and whether everything acknowledged is there.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from rich.console import Console
from rich.table import Table

from broker.base.errors import BrokerError
from broker.client.client import Client
from loadtest.cluster import LocalCluster
from loadtest.figures import Figure, load_average, table
from loadtest.latency import Latencies
from loadtest.memory import resident_by
from loadtest.offering import Offer, Offerer, Outcome, Target

SUSTAINED = 0.7
"""Of what the cluster gets done when it is pressed: at that it can go on."""
TOO_MANY_REFUSED = 0.03
TIMES = 3
P99_TARGET_MS = 1_000.0
MEMORY_TARGET_MIB = 256.0
RELIEF_TARGET_MS = 1_000.0
RECOVERY_SECONDS = 3.0
_SAMPLE_SECONDS = 0.25


class Span(msgspec.Struct, frozen=True):
    """What one rate came to."""

    name: str
    calls_per_second: float
    seconds: float
    outcome: Outcome


class Relief:
    """Somebody who receives and deletes, all the time, without the client library's patience for refusals."""

    def __init__(self, client: Client, queue: str) -> None:
        self._client = client
        self._queue = queue
        self.latencies = Latencies()
        self.refused = 0
        self.deleted = 0

    async def work(self) -> None:
        while True:
            begun = time.monotonic_ns()
            try:
                messages = await self._client.receive(self._queue, max_messages=100)
                if messages:
                    await self._client.delete(self._queue, [message.receipt_handle for message in messages])
                    self.deleted += len(messages)
            except BrokerError:
                self.refused += 1
            self.latencies.record(time.monotonic_ns() - begun)
            await asyncio.sleep(0.02)

    def p99_ms(self) -> float:
        return (self.latencies.percentiles() or {99.0: 0})[99.0] / 1000


class Storm:
    def __init__(self, cluster: LocalCluster, client: Client, offerer: Offerer, console: Console) -> None:
        self._cluster = cluster
        self._client = client
        self._offerer = offerer
        self._console = console
        self._targets: tuple[Target, ...] = ()
        self._batch = 0
        self._size = 0
        self.spans: list[Span] = []

    async def prepare(self, batch: int, size: int) -> None:
        """A queue that each node leads."""
        self._batch, self._size = batch, size
        found: dict[str, Target] = {}
        for number in range(64):
            name = f"overload-{number}"
            await self._client.create_queue(name)
            leader = (await self._client.describe_queue(name)).leader
            if leader not in found:
                found[leader] = Target(self._cluster.nodes[leader].settings.client_listen, name)
            else:
                await self._client.delete_queue(name)
            if len(found) == len(self._cluster.nodes):
                break
        self._targets = tuple(found.values())

    @property
    def queues(self) -> list[str]:
        return [target.queue for target in self._targets]

    async def press(self, seconds: float, outstanding: int) -> float:
        """Calls a second that get done when so many are always on their way."""
        offer = Offer(self._targets, 0.0, seconds, self._batch, self._size, outstanding)
        outcome = await asyncio.to_thread(self._offerer.offer, offer)
        self.spans.append(Span(f"pressed, {outstanding} at a time", outcome.offered / seconds, seconds, outcome))
        return outcome.accepted / seconds

    async def offer(self, name: str, rate: float, seconds: float) -> Span:
        offer = Offer(self._targets, rate, seconds, self._batch, self._size)
        outcome = await asyncio.to_thread(self._offerer.offer, offer)
        span = Span(name, rate, seconds, outcome)
        self.spans.append(span)
        return span

    async def sustained(self, seconds: float) -> tuple[float, Span]:
        """The rate that is kept up with next to no refusals, and how that went."""
        await self.press(1.0, 16)
        rate = SUSTAINED * await self.press(seconds, 64)
        while True:
            span = await self.offer("1x", rate, seconds)
            if span.outcome.refused + span.outcome.unknown <= TOO_MANY_REFUSED * span.outcome.offered:
                return rate, span
            rate *= SUSTAINED

    def accepted(self) -> tuple[int, int]:
        """Messages acknowledged in all spans, and those of which that is not known."""
        accepted = sum(span.outcome.accepted for span in self.spans)
        unknown = sum(span.outcome.unknown for span in self.spans)
        return accepted * self._batch, unknown * self._batch


@asynccontextmanager
async def memory_watched(cluster: LocalCluster) -> AsyncIterator[dict[str, int]]:
    """Most bytes of each node that were seen inside the block."""
    highest = resident_by(cluster.pids())

    async def sample() -> None:
        while True:
            for node, size in resident_by(cluster.pids()).items():
                highest[node] = max(highest[node], size)
            await asyncio.sleep(_SAMPLE_SECONDS)

    sampling = asyncio.ensure_future(sample())
    try:
        yield highest
    finally:
        sampling.cancel()


async def measure(
    seconds: float, batch: int, size: int, processes: int, sustained: float, console: Console
) -> list[Figure]:
    """``sustained``: calls a second; 0: to be found."""
    with Offerer(processes) as offerer:
        async with LocalCluster() as cluster, Client(cluster.addresses) as client:
            storm = Storm(cluster, client, offerer, console)
            await storm.prepare(batch, size)
            if sustained:
                rate, calm = sustained, await storm.offer("1x", sustained, seconds / 2)
            else:
                rate, calm = await storm.sustained(seconds / 2)
            before = resident_by(cluster.pids())
            relief = Relief(client, storm.queues[0])
            working = asyncio.ensure_future(relief.work())
            async with memory_watched(cluster) as highest:
                stormy = await storm.offer(f"{TIMES}x", TIMES * rate, seconds)
            working.cancel()
            after = await storm.offer("1x again", rate, RECOVERY_SECONDS)
            stored = [await client.describe_queue(queue) for queue in storm.queues]
    console.print(_spans(storm.spans, batch))
    grown = max(highest[node] - before[node] for node in before) / 1024**2
    accepted, unknown = storm.accepted()
    sent = sum(each.counts.sent_total for each in stored)
    there = sum(
        each.counts.visible + each.counts.in_flight + each.counts.delayed + each.counts.deleted_total for each in stored
    )
    rates = f"{rate * batch:,.0f} messages a second are sustained; {stormy.outcome.refused:,} calls refused"
    return [
        _p99("p99 of accepted sends at 1x", calm, f"{calm.outcome.refused} of {calm.outcome.offered:,} calls refused"),
        _p99(f"p99 of accepted sends at {TIMES}x", stormy, rates),
        Figure(
            "work lost to the storm",
            (1 - _accepted_rate(stormy) / rate) * 100,
            30.0,
            "%",
            f"{_accepted_rate(stormy) * batch:,.0f} messages a second accepted at {TIMES}x",
        ),
        Figure(
            f"p99 of receive and delete at {TIMES}x",
            relief.p99_ms(),
            RELIEF_TARGET_MS,
            "ms",
            f"{relief.deleted:,} deleted, {relief.refused} refused",
        ),
        Figure("most memory that a node took more", grown, MEMORY_TARGET_MIB, "MiB", "with what was stored meanwhile"),
        Figure("refused in the first second after the storm", _refused_at_once(after), 5.0, "%", "of what came at 1x"),
        _p99("p99 of accepted sends after the storm", after, f"{after.outcome.refused} calls refused"),
        Figure("acknowledged and lost", max(0, accepted - sent) + (sent - there), 0, "messages", f"of {accepted:,}"),
        Figure("stored and not known to be", max(0, sent - accepted - unknown), 0, "messages", f"{unknown:,} unknown"),
    ]


def _accepted_rate(span: Span) -> float:
    return span.outcome.accepted / span.seconds


def _refused_at_once(span: Span) -> float:
    """Percent of the calls of its first second."""
    return sum(at < 1_000_000 for at in span.outcome.refused_at) / span.calls_per_second * 100


def _p99(name: str, span: Span, detail: str) -> Figure:
    p50, p99 = span.outcome.percentiles_ms()
    made = span.outcome.since_made_ms()[1]
    return Figure(name, p99, P99_TARGET_MS, "ms", f"{made:.0f} ms since the call was made; p50 {p50:.1f} ms; {detail}")


def _spans(spans: list[Span], batch: int) -> Table:
    made = Table(title=f"Calls of {batch} messages, to a queue on each node", title_justify="left")
    for name in (
        "offered",
        "a second",
        "accepted/s",
        "refused/s",
        "unknown",
        "p50 ms",
        "p99 ms",
        "since made",
        "why",
    ):
        made.add_column(name, justify="left" if name in {"offered", "why"} else "right")
    for span in spans:
        outcome = span.outcome
        p50, p99 = outcome.percentiles_ms()
        why = ", ".join(f"{reason}: {count}" for reason, count in outcome.reasons.items())
        made.add_row(
            span.name, f"{span.calls_per_second:,.0f}", f"{_accepted_rate(span):,.0f}",
            f"{outcome.refused / span.seconds:,.0f}", str(outcome.unknown + outcome.not_made), f"{p50:.1f}",
            f"{p99:.1f}", f"{outcome.since_made_ms()[1]:.1f}", why,
        )  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the storm")
    parser.add_argument("--batch", type=int, default=100, help="messages of a call")
    parser.add_argument("--size", type=int, default=1_024, help="bytes of a message")
    parser.add_argument("--processes", type=int, default=2, help="that offer the load")
    parser.add_argument("--sustained", type=float, default=0.0, help="calls a second, instead of finding out")
    given = parser.parse_args()
    console = Console(width=140)
    figures = asyncio.run(measure(given.seconds, given.batch, given.size, given.processes, given.sustained, console))
    console.print(table(f"Three nodes, {TIMES} times what they sustain; {load_average()}", "what", figures))
    raise SystemExit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    main()

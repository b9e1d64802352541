"""Four figures of a three-zone cluster on this machine, each with its target: what a message costs the brokers.

1 KiB, three replicas, synced before the acknowledgement. CPU is summed over the three broker processes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console

from broker.client.client import Client
from loadtest import cpu
from loadtest.cluster import LocalCluster
from loadtest.figures import Figure, table
from loadtest.frames import FrameSender, encoded_messages
from loadtest.latency import Latencies

BODY = secrets.token_bytes(1024)
FRAME_MESSAGES = 100
FRAMES_OUTSTANDING = 16
CONFIRMATIONS_OUTSTANDING = 64
WARM_UP_SHARE = 10
"""One part in so many of the messages goes through first, unmeasured."""


Load = Callable[[int], Awaitable[None]]


class Bench:
    def __init__(self, cluster: LocalCluster, client: Client, messages: int) -> None:
        self._cluster = cluster
        self._client = client
        self._messages = messages

    async def figures(self) -> list[Figure]:
        return [
            await self.sends_with_64_outstanding(),
            await self.frames_of_100(),
            await self.through_the_streams(),
            await self.one_at_a_time(),
        ]

    async def sends_with_64_outstanding(self) -> Figure:
        """Each of 64 tasks sends, waits for the confirmation, sends again; the client makes the frames."""
        await self._client.create_queue("bench-sends")
        producer = self._client.producer("bench-sends")

        async def load(messages: int) -> None:
            async def worker(share: int) -> None:
                for _ in range(share):
                    await producer.send(BODY)

            share = -(-messages // CONFIRMATIONS_OUTSTANDING)
            await asyncio.gather(*(worker(share) for _ in range(CONFIRMATIONS_OUTSTANDING)))

        figure = await self._cpu("send, 64 confirmations outstanding", 40.0, load)
        await producer.close()
        return figure

    async def frames_of_100(self) -> Figure:
        await self._client.create_queue("bench-frames")
        messages = encoded_messages(BODY, FRAME_MESSAGES)
        address = await self._leader_address("bench-frames")

        async def load(count: int) -> None:
            sender = FrameSender(address, "bench-frames", secrets.token_bytes(16), FRAMES_OUTSTANDING)
            await sender.send(messages, -(-count // FRAME_MESSAGES))

        return await self._cpu(f"send, frames of {FRAME_MESSAGES}, {FRAMES_OUTSTANDING} outstanding", 20.0, load)

    async def through_the_streams(self) -> Figure:
        """Produced in frames while a consumer takes and deletes."""
        await self._client.create_queue("bench-streams")
        messages = encoded_messages(BODY, FRAME_MESSAGES)
        address = await self._leader_address("bench-streams")

        async def load(count: int) -> None:
            frames = -(-count // FRAME_MESSAGES)
            sender = FrameSender(address, "bench-streams", secrets.token_bytes(16), FRAMES_OUTSTANDING)
            sending = asyncio.ensure_future(sender.send(messages, frames))
            async with self._client.consume("bench-streams", prefetch=2_000) as consumer:
                for _ in range(frames * FRAME_MESSAGES):
                    (await anext(consumer)).ack()
                await consumer.flush()
            await sending

        return await self._cpu("send + receive + delete, streams", 80.0, load)

    async def one_at_a_time(self, sends: int = 2_000) -> Figure:
        await self._client.create_queue("bench-single")
        producer = self._client.producer("bench-single")
        latencies = Latencies()
        for number in range(sends + sends // WARM_UP_SHARE):
            begun = time.monotonic_ns()
            await producer.send(BODY)
            if number >= sends // WARM_UP_SHARE:
                latencies.record(time.monotonic_ns() - begun)
        await producer.close()
        found = latencies.percentiles()
        detail = f"p99 {found[99.0] / 1000:.2f} ms, {sends:,} sends"
        return Figure("time of one send on an idle cluster, p50", found[50.0] / 1000, 1.5, "ms", detail)

    async def _cpu(self, name: str, target: float, load: Load) -> Figure:
        await load(self._messages // WARM_UP_SHARE)
        before, begun = cpu.used_by(self._cluster.pids()), time.monotonic()
        await load(self._messages)
        seconds = time.monotonic() - begun
        after = cpu.used_by(self._cluster.pids())
        each = {node: (after[node] - before[node]) / self._messages for node in after}
        shares = " + ".join(f"{share:.1f}" for share in sorted(each.values(), reverse=True))
        detail = f"{shares} us; {self._messages / seconds:,.0f} messages/s"
        return Figure(name, sum(each.values()), target, "us", detail)

    async def _leader_address(self, queue: str) -> str:
        leader = (await self._client.describe_queue(queue)).leader
        return self._cluster.nodes[leader].settings.client_listen


async def bench(messages: int, folder: Path | None, console: Console) -> bool:
    """Whether all targets were met."""
    async with LocalCluster(folder) as cluster, Client(cluster.addresses) as client:
        figures = await Bench(cluster, client, messages).figures()
    title = "Three zones on this machine, 1 KiB, synced before the acknowledgement"
    console.print(table(title, "CPU of all brokers, per message", figures))
    return all(figure.met for figure in figures)

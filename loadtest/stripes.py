"""What a message costs the brokers when its queue is spread over several groups: ``python -m loadtest.stripes``.

The same load on a queue with one stripe and on one with four, in turn, on a cluster of three real processes: 1 KiB,
three replicas, synced before the acknowledgement. It is a load for which one spreads a queue: so much is under way that
batches fill in every group. Each sender finds the node of its own stripe, as the client library does. CPU is summed
over the broker processes. What counts is the median over the rounds of the quotient of two neighbouring measurements,
whatever else the machine does at the time. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.console import Console

from broker.client.channels import Channels, open_channel
from broker.client.client import Client
from broker.client.locating import Locator
from broker.client.producer import Producer
from loadtest import cpu
from loadtest.cluster import LocalCluster
from loadtest.figures import Figure, load_average, table
from loadtest.frames import FrameSender, encoded_messages

BODY = secrets.token_bytes(1024)
FRAME_MESSAGES = 100
SENDERS = 16
FRAMES_OUTSTANDING = 4
"""Of each sender."""
PRODUCERS = 4
CONFIRMATIONS_OUTSTANDING = 64
"""Of each producer, which is handed its messages one by one."""
CONSUMERS = 16
PREFETCH = 500
STRIPES = 4
TARGET = 1.2
LOCATE_SECONDS = 10.0


class Cost(msgspec.Struct, frozen=True):
    """``each``: CPU microseconds per message; ``rate``: messages a second."""

    each: float
    rate: float


Load = Callable[[str, int], Awaitable[None]]
"""Of so many messages on the queue of that name."""


class Stripes:
    def __init__(self, cluster: LocalCluster, client: Client, locator: Locator, messages: int) -> None:
        self._cluster = cluster
        self._client = client
        self._locator = locator
        self._messages = messages
        self._frame = encoded_messages(BODY, FRAME_MESSAGES)

    async def figures(self, rounds: int) -> list[Figure]:
        loads: dict[str, Load] = {
            f"send, {SENDERS} senders, {FRAMES_OUTSTANDING} frames of {FRAME_MESSAGES} outstanding": self.send_frames,
            f"send, {PRODUCERS} producers, {CONFIRMATIONS_OUTSTANDING} outstanding": self.send_singly,
            "send + receive + delete, streams": self.through_the_streams,
        }
        return [await self._compare(name, load, rounds) for name, load in loads.items()]

    async def send_frames(self, queue: str, messages: int) -> None:
        frames = -(-messages // FRAME_MESSAGES // SENDERS)

        async def one() -> None:
            session = secrets.token_bytes(16)
            deadline = asyncio.get_running_loop().time() + LOCATE_SECONDS
            node = await self._locator.locate(queue, deadline, session)
            await FrameSender(node.address, queue, session, FRAMES_OUTSTANDING).send(self._frame, frames)

        await asyncio.gather(*(one() for _ in range(SENDERS)))

    async def send_singly(self, queue: str, messages: int) -> None:
        producers = [self._client.producer(queue) for _ in range(PRODUCERS)]
        share = messages // PRODUCERS // CONFIRMATIONS_OUTSTANDING

        async def worker(producer: Producer) -> None:
            for _ in range(share):
                await producer.send(BODY)

        await asyncio.gather(*(worker(each) for each in producers for _ in range(CONFIRMATIONS_OUTSTANDING)))
        for each in producers:
            await each.close()

    async def through_the_streams(self, queue: str, messages: int) -> None:
        """Sent in frames while consumers take and delete, until the queue is empty."""
        left = -(-messages // FRAME_MESSAGES // SENDERS) * FRAME_MESSAGES * SENDERS
        done = asyncio.Event()

        async def consume() -> None:
            nonlocal left
            async with self._client.consume(queue, prefetch=PREFETCH) as consumer:
                stopping = asyncio.ensure_future(done.wait())
                stopping.add_done_callback(lambda _: consumer.stop())
                async for message in consumer:
                    message.ack()
                    left -= 1
                    if left <= 0:
                        done.set()
                await consumer.flush()
                await stopping

        await asyncio.gather(self.send_frames(queue, messages), *(consume() for _ in range(CONSUMERS)))

    async def _compare(self, name: str, load: Load, rounds: int) -> Figure:
        costs: dict[int, list[Cost]] = {1: [], STRIPES: []}
        for number in range(rounds):
            for stripes in (1, STRIPES) if number % 2 == 0 else (STRIPES, 1):
                queue = f"stripes-{secrets.token_hex(4)}"
                await self._client.create_queue(queue, stripes=stripes)
                if number == 0:
                    await load(queue, self._messages // 10)
                costs[stripes].append(await self._cost(load, queue))
                await self._client.delete_queue(queue)
        quotients = [several.each / one.each for one, several in zip(costs[1], costs[STRIPES], strict=True)]
        details = [
            f"{stripes}: {statistics.median(cost.each for cost in found):.1f} us, "
            f"{statistics.median(cost.rate for cost in found):,.0f} messages/s"
            for stripes, found in costs.items()
        ]
        details.append(f"rounds {min(quotients):.2f} to {max(quotients):.2f}")
        return Figure(name, statistics.median(quotients), TARGET, "x", "; ".join(details))

    async def _cost(self, load: Load, queue: str) -> Cost:
        before, begun = cpu.used_by(self._cluster.pids()), time.monotonic()
        await load(queue, self._messages)
        seconds = time.monotonic() - begun
        after = cpu.used_by(self._cluster.pids())
        return Cost(sum(after[node] - before[node] for node in after) / self._messages, self._messages / seconds)


async def measure(messages: int, rounds: int, console: Console) -> bool:
    """Whether all targets were met."""
    async with LocalCluster() as cluster, Client(cluster.addresses) as client:
        channels = Channels(cluster.addresses.split(","), open_channel(None))
        try:
            figures = await Stripes(cluster, client, Locator(channels, Random(1)), messages).figures(rounds)
        finally:
            await channels.close()
    title = f"Three zones on this machine, 1 KiB, synced before the acknowledgement; {load_average()}"
    console.print(table(title, f"CPU of all brokers per message, {STRIPES} stripes against 1", figures))
    return all(figure.met for figure in figures)


def main(
    messages: Annotated[int, typer.Option(help="Messages of each measurement.")] = 50_000,
    rounds: Annotated[int, typer.Option(help="Measurements of each kind, in turn.")] = 5,
) -> None:
    """Measure what a message costs on a queue with four stripes, against one with a single stripe."""
    if not uvloop.run(measure(messages, rounds, Console())):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

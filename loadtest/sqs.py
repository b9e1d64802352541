"""What SQS's calls cost, and long polls that wait: python -m loadtest.sqs.

Three nodes, each message on two disks before it is acknowledged. CPU is the sum of all three, without the client's.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import uvloop
from rich.console import Console

from loadtest import cpu
from loadtest.cluster import LocalCluster
from loadtest.figures import Figure, load_average, table
from loadtest.sqs_calls import LaterError, SqsConnection

BODY = "x" * 1_024
BATCH = 10
LATER_SECONDS = 0.1
QUEUES = 6
"""So that every node leads some."""
POLLS_QUIET_SECONDS = 3.0
"""Until all polls have come."""
POLLS_TARGET_PERCENT = 1.0
"""Of a core, beyond what the nodes take at rest; all three together."""
Step = Callable[[SqsConnection, str], Awaitable[int]]
"""One turn of a client with its queue: how many messages it was about."""


class Cost(msgspec.Struct):
    messages: int
    seconds: float
    microseconds: float
    """Of the brokers' CPU, for a message."""


async def send(call: SqsConnection, url: str) -> int:
    await call("SendMessage", QueueUrl=url, MessageBody=BODY)
    return 1


async def receive_and_delete(call: SqsConnection, url: str) -> int:
    answer = await call("ReceiveMessage", QueueUrl=url)
    for message in answer.get("Messages", ()):
        await call("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return len(answer.get("Messages", ()))


async def send_batch(call: SqsConnection, url: str) -> int:
    entries = [{"Id": str(number), "MessageBody": BODY} for number in range(BATCH)]
    return len((await call("SendMessageBatch", QueueUrl=url, Entries=entries))["Successful"])


async def receive_and_delete_batch(call: SqsConnection, url: str) -> int:
    messages = (await call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=BATCH)).get("Messages", ())
    if messages:
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        await call("DeleteMessageBatch", QueueUrl=url, Entries=entries)
    return len(messages)


STEPS: tuple[tuple[str, Step, float], ...] = (
    ("SendMessage", send, 130),
    ("ReceiveMessage + DeleteMessage", receive_and_delete, 260),
    ("SendMessageBatch of 10", send_batch, 35),
    ("ReceiveMessage of 10 + DeleteMessageBatch", receive_and_delete_batch, 45),
)
"""With the target, in CPU microseconds a message. Each pair takes out what it puts in, more or less."""


async def cost(step: Step, calls: Sequence[SqsConnection], urls: Sequence[str], seconds: float, pids: Any) -> Cost:
    """All connections at once, each one call after the other."""
    before, began = sum(cpu.used_by(pids).values()), time.monotonic()

    async def client(number: int) -> int:
        count = 0
        while time.monotonic() - began < seconds:
            try:
                count += await step(calls[number], urls[number % len(urls)])
            except LaterError:
                await asyncio.sleep(LATER_SECONDS)
        return count

    messages = sum(await asyncio.gather(*(client(number) for number in range(len(calls)))))
    spent = time.monotonic() - began
    return Cost(messages, spent, (sum(cpu.used_by(pids).values()) - before) / max(1, messages))


async def percent(seconds: float, pids: Any) -> float:
    """Of a core that the nodes take."""
    before, began = sum(cpu.used_by(pids).values()), time.monotonic()
    await asyncio.sleep(seconds)
    return (sum(cpu.used_by(pids).values()) - before) / (time.monotonic() - began) / 1e4


async def polls(addresses: Sequence[str], count: int, seconds: float, pids: Any) -> list[Figure]:
    """So many calls wait on empty queues; then one message comes."""
    async with AsyncExitStack() as stack:
        calls = [
            await stack.enter_async_context(SqsConnection(addresses[number % len(addresses)]))
            for number in range(count)
        ]
        urls = [(await calls[0]("CreateQueue", QueueName=f"polls-{number}"))["QueueUrl"] for number in range(QUEUES)]
        alone = await percent(seconds, pids)
        waiting = [
            asyncio.ensure_future(call("ReceiveMessage", QueueUrl=urls[number % QUEUES], WaitTimeSeconds=20))
            for number, call in enumerate(calls)
        ]
        await asyncio.sleep(POLLS_QUIET_SECONDS)
        found = await percent(seconds, pids)
        early = sum(poll.done() for poll in waiting)
        async with SqsConnection(addresses[0]) as call:
            await call("SendMessage", QueueUrl=urls[0], MessageBody="x")
        served = sum(len(answer.get("Messages", ())) for answer in await asyncio.gather(*waiting))
    detail = f"{alone:.2f} % at rest, {found:.2f} % with them"
    return [
        Figure(f"CPU of {count:,} long polls", found - alone, POLLS_TARGET_PERCENT, "% of a core", detail),
        Figure("polls that ended before there was a message", early, 0, ""),
        Figure("polls served by one message, beyond one", abs(served - 1), 0, ""),
    ]


async def measure(connections: int, poll_count: int, seconds: float, console: Console) -> list[Figure]:
    figures: list[Figure] = []
    async with LocalCluster() as cluster, AsyncExitStack() as stack:
        addresses = [node.settings.aws_listen for node in cluster.nodes.values()]
        pids = cluster.pids()
        calls = [
            await stack.enter_async_context(SqsConnection(addresses[number % len(addresses)]))
            for number in range(connections)
        ]
        urls = [(await calls[0]("CreateQueue", QueueName=f"load-{number}"))["QueueUrl"] for number in range(QUEUES)]
        await cost(send, calls, urls, 1.0, pids)  # warm
        for name, step, target in STEPS:
            console.print(f"{name} ...")
            found = await cost(step, calls, urls, seconds, pids)
            detail = f"{found.messages:,} messages in {found.seconds:.1f} s"
            figures.append(Figure(name, found.microseconds, target, "us a message", detail))
        console.print(f"{poll_count:,} long polls ...")
        figures += await polls(addresses, poll_count, min(seconds, 6.0), pids)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.sqs", description=__doc__)
    parser.add_argument("--connections", type=int, default=64, help="at once, spread over the nodes")
    parser.add_argument("--polls", type=int, default=1_000, help="long polls that wait at once")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each span that is measured")
    given = parser.parse_args()
    console = Console(width=120)
    figures = uvloop.run(measure(given.connections, given.polls, given.seconds, console))
    title = f"Three nodes, {given.connections} connections, messages of 1 KiB; {load_average()}"
    console.print(table(title, "CPU of all brokers", figures))
    raise SystemExit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    main()

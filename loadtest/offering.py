"""Offers sends to the brokers as an open loop, from a process of its own: a call is made when it is due, whatever has
become of those before. No retries: what is refused is counted as refused.

Raw calls instead of the client library, which would hold back what the brokers refuse.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection

import grpc
import grpc.aio
import msgspec

from broker.aio.wakeups import all_read_at_once
from broker.pb.queues.v1 import queues_pb2
from loadtest.latency import Latencies

_METHOD = "/broker.queues.v1.QueueService/Send"
_TIMEOUT_SECONDS = 15.0
_CONNECTIONS = 16
"""To each node, from one process: a storm has many callers."""
_NUMBERS = re.compile(r"\d+")
_MOST_OUTSTANDING = 4_000
"""Calls of one process; further ones are not made, and counted as such: then the load is not what was asked for."""


class Target(msgspec.Struct, frozen=True):
    """``address`` of the node that leads ``queue``."""

    address: str
    queue: str


class Offer(msgspec.Struct, frozen=True):
    """``rate`` in calls a second, 0: as many as ``outstanding`` at a time get done. Each call sends ``batch`` messages
    of ``size`` bytes."""

    targets: tuple[Target, ...]
    rate: float
    seconds: float
    batch: int
    size: int
    outstanding: int = 16


class Outcome(msgspec.Struct):
    """Calls, by what became of them; ``micros``: of the accepted ones, since they were due. ``refused_at``: when
    the others were, in microseconds since the offer began. ``unknown``: neither accepted nor refused."""

    offered: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    not_made: int = 0
    micros: array[int] = msgspec.field(default_factory=lambda: array("q"))
    since_made: array[int] = msgspec.field(default_factory=lambda: array("q"))
    """As ``micros``, without the time by which the tester itself was late with the call."""
    refused_at: array[int] = msgspec.field(default_factory=lambda: array("q"))
    reasons: dict[str, int] = {}

    def add(self, other: Outcome) -> None:
        for name in ("offered", "accepted", "refused", "unknown", "not_made"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.micros.extend(other.micros)
        self.since_made.extend(other.since_made)
        self.refused_at.extend(other.refused_at)
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count

    def percentiles_ms(self) -> tuple[float, float]:
        """p50 and p99 of what was accepted."""
        return _percentiles_ms(self.micros)

    def since_made_ms(self) -> tuple[float, float]:
        return _percentiles_ms(self.since_made)


def _percentiles_ms(micros: array[int]) -> tuple[float, float]:
    latencies = Latencies()
    for each in micros:
        latencies.record(each * 1000)
    found = latencies.percentiles() or {50.0: 0, 99.0: 0}
    return found[50.0] / 1000, found[99.0] / 1000


class Offerer:
    """Processes that offer; a context manager. ``offer`` blocks until all have done their part."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = multiprocessing.Pipe()
            self._pipes.append(ours)
            self._processes.append(context.Process(target=_run, args=(theirs,), daemon=True))

    def __enter__(self) -> Offerer:
        for process in self._processes:
            process.start()
        for pipe in self._pipes:
            pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(5.0)
            process.kill()

    def offer(self, offer: Offer) -> Outcome:
        """``rate`` and ``outstanding`` are shared out."""
        share = msgspec.structs.replace(
            offer,
            rate=offer.rate / len(self._pipes),
            outstanding=max(1, offer.outstanding // len(self._pipes)),
        )
        for pipe in self._pipes:
            pipe.send(share)
        total = Outcome()
        for pipe in self._pipes:
            total.add(pipe.recv())
        return total


class _Calls:
    def __init__(self, offer: Offer, channels: dict[str, list[grpc.aio.Channel]]) -> None:
        self.outcome = Outcome()
        self._offer = offer
        message = queues_pb2.OutgoingMessage(body=b"x" * offer.size)
        self._requests = [
            (
                channels[target.address][number].unary_unary(
                    _METHOD, request_serializer=bytes, response_deserializer=queues_pb2.SendResponse.FromString
                ),
                queues_pb2.SendRequest(queue=target.queue, messages=[message] * offer.batch).SerializeToString(),
            )
            for number in range(_CONNECTIONS)
            for target in offer.targets
        ]
        self._begun = time.monotonic_ns()
        self.running = 0

    async def open_loop(self) -> None:
        offer, begun = self._offer, self._begun
        count = round(offer.rate * offer.seconds)
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = begun + round(number / offer.rate * 1e9)
                early = due - time.monotonic_ns()
                if early > 0:
                    await asyncio.sleep(early / 1e9)
                elif number % 32 == 0:
                    await asyncio.sleep(0)
                self.outcome.offered += 1
                if self.running >= _MOST_OUTSTANDING:
                    self.outcome.not_made += 1
                    continue
                group.create_task(self._one(number, due))

    async def closed_loop(self) -> None:
        until = self._begun + round(self._offer.seconds * 1e9)

        async def worker(number: int) -> None:
            while time.monotonic_ns() < until:
                self.outcome.offered += 1
                await self._one(number, time.monotonic_ns())

        await asyncio.gather(*(worker(number) for number in range(self._offer.outstanding)))

    async def _one(self, number: int, due: int) -> None:
        call, request = self._requests[number % len(self._requests)]
        outcome = self.outcome
        self.running += 1
        made = time.monotonic_ns()
        try:
            response = await call(request, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                outcome.refused += 1
                outcome.refused_at.append((time.monotonic_ns() - self._begun) // 1000)
                code = _NUMBERS.sub("N", (error.details() or "")[:24])
            else:
                outcome.unknown += 1
            outcome.reasons[code] = outcome.reasons.get(code, 0) + 1
        else:
            if response.failed:
                outcome.unknown += 1
                return
            outcome.accepted += 1
            now = time.monotonic_ns()
            outcome.micros.append((now - due) // 1000)
            outcome.since_made.append((now - made) // 1000)
        finally:
            self.running -= 1


def _run(pipe: Connection) -> None:
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    pipe.send("ready")
    channels: dict[str, list[grpc.aio.Channel]] = {}
    while (offer := await asyncio.to_thread(pipe.recv)) is not None:
        _connect(channels, offer.targets)
        calls = _Calls(offer, channels)
        await (calls.open_loop() if offer.rate else calls.closed_loop())
        pipe.send(calls.outcome)


def _connect(channels: dict[str, list[grpc.aio.Channel]], targets: Sequence[Target]) -> None:
    own = [("grpc.use_local_subchannel_pool", 1)]
    with all_read_at_once():
        for target in targets:
            if target.address not in channels:
                channels[target.address] = [
                    grpc.aio.insecure_channel(target.address, options=own) for _ in range(_CONNECTIONS)
                ]

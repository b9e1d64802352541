"""Makes the load: producers that keep to their schedule whatever the cluster does, and consumers that take what comes.

Open loop: a message is handed to the client when it is due, however many are still unconfirmed, and every latency
counts from the due time.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.client.consumer import Consumer
from broker.client.model import SentMessage
from broker.client.producer import Producer
from loadtest.latency import Latencies
from loadtest.schedule import NANOSECONDS, Arrival, arrivals
from loadtest.stamps import STAMP_BYTES, Stamp, stamp_of, stamped
from loadtest.verifier import Verifier
from loadtest.workload import Workload

_BREATHER = 64
"""A producer that is behind lets the event loop run after so many sends."""
_FINEST_SLEEP = 0.001


class PhaseResult:
    """What happened to the messages that were due in one phase. Latencies count from the due time."""

    def __init__(self) -> None:
        self.lateness = Latencies()
        """Until the generator handed the message to the client: its own share of the latencies below."""
        self.confirmation = Latencies()
        self.delivery = Latencies()


class Generator:
    """One run of a workload. ``run_id`` marks its messages."""

    def __init__(self, workload: Workload, run_id: int) -> None:
        self.workload = workload
        self.verifier = Verifier(workload.producers)
        self.phases = [PhaseResult() for _ in workload.phases]
        self.strangers = 0
        """Messages received that this run did not send."""
        self.errors: dict[str, int] = {}
        self._run_id = run_id
        self._filler = random.Random(workload.seed).randbytes(workload.message_bytes - STAMP_BYTES)
        self._progress = asyncio.Event()

    async def run(self, client: Client, started_ns: int) -> None:
        """Sends everything that is due after ``started_ns`` and receives it. Returns when each confirmed message was
        received, or when the time to drain is up."""
        workload = self.workload
        consumers = [client.consume(workload.queue, prefetch=workload.prefetch) for _ in range(workload.consumers)]
        async with asyncio.TaskGroup() as group:
            for consumer in consumers:
                group.create_task(self._consume(consumer))
            await asyncio.gather(*(self._produce(client, each, started_ns) for each in range(workload.producers)))
            await self._drain()
            for consumer in consumers:
                consumer.stop()
        for consumer in consumers:
            await consumer.close()

    async def _produce(self, client: Client, number: int, started_ns: int) -> None:
        producer = client.producer(self.workload.queue)
        chance = random.Random(self.workload.seed * 1_000_003 + number)
        behind = 0
        for sequence, arrival in enumerate(arrivals(self.workload, number, chance)):
            due = started_ns + arrival.due_ns
            if time.monotonic_ns() < due:
                await _until(due)
            else:
                behind += 1
                if behind % _BREATHER == 0:
                    await asyncio.sleep(0)
            await self._send(producer, number, sequence, due, arrival)
        await producer.close()

    async def _send(self, producer: Producer, number: int, sequence: int, due: int, arrival: Arrival) -> None:
        self.phases[arrival.phase].lateness.record(time.monotonic_ns() - due)
        self.verifier.sent(number, sequence)
        body = stamped(Stamp(self._run_id, number, sequence, due, arrival.phase), self._filler)
        future = await producer.enqueue(body)
        future.add_done_callback(partial(self._confirmed, number, sequence, due, arrival.phase))

    def _confirmed(self, number: int, sequence: int, due: int, phase: int, future: asyncio.Future[SentMessage]) -> None:
        error = future.exception()
        if error is None:
            self.phases[phase].confirmation.record(time.monotonic_ns() - due)
            self.verifier.confirmed(number, sequence)
        else:
            self.verifier.failed(number)
            name = error.code if isinstance(error, BrokerError) else type(error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1

    async def _consume(self, consumer: Consumer) -> None:
        async for message in consumer:
            now = time.monotonic_ns()
            self._received(message.body, now)
            message.ack()

    def _received(self, body: bytes, now: int) -> None:
        stamp = stamp_of(body) if len(body) >= STAMP_BYTES else None
        if stamp is None or stamp.run != self._run_id:
            self.strangers += 1
            return
        if self.verifier.received(stamp.producer, stamp.sequence):
            self.phases[stamp.phase].delivery.record(now - stamp.due_ns)
        self._progress.set()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self.workload.drain_seconds):
                while self.verifier.outstanding:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return  # the verdict says what is missing


async def _until(due: int) -> None:
    """Never early: the event loop counts in milliseconds and may wake too soon by a part of one."""
    early = due - time.monotonic_ns()
    while early > 0:
        await asyncio.sleep(max(early / NANOSECONDS, _FINEST_SLEEP))
        early = due - time.monotonic_ns()

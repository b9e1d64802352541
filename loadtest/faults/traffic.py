"""Clients at work on one queue: senders of numbered messages, receivers that delete what they get; and what happens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.client.errors import PartlyRefused
from broker.client.model import OutgoingMessage, QueueOptions, ReceivedMessage, SentMessage
from broker.client.producer import Producer
from loadtest.faults.history import History, Key

BODY_BYTES = 1_000
_PAUSE_AFTER_ERROR_SECONDS = 0.2
_LOOK_EVERY_SECONDS = 0.25


class Plan(msgspec.Struct, frozen=True):
    """``every``: seconds between two sends of one sender. ``batch``: messages of a send. ``ahead``: how many sends of
    one sender may be unacknowledged. ``most``, ``wait``: of a receive: messages, and seconds. ``visibility``: seconds.
    ``hold``: seconds between a receive and the delete. ``delay``: of each message, seconds.
    ``fifo``: each sender keeps to a message group of its own. ``moves``: dead letters leave the queue and return."""

    name: str
    what: str
    senders: int
    every: float
    receivers: int
    most: int
    wait: float
    visibility: float
    batch: int = 1
    ahead: int = 1
    hold: float = 0.0
    delay: float = 0.0
    fifo: bool = False
    moves: bool = False
    options: QueueOptions = {}


class Workload:
    """``run`` until cancelled; ``stop_sending`` before ``drained`` is waited for."""

    def __init__(self, plan: Plan, number: int, history: History) -> None:
        """``number``: of the cell, so that no two cells share a queue."""
        self.plan = plan
        self.history = history
        self.queue = f"{plan.name}-{number}" + (".fifo" if plan.fifo else "")
        self._stopped = asyncio.Event()

    @property
    def queues(self) -> tuple[str, ...]:
        """All it uses; the first is the one whose leader is meant by "the leader"."""
        return (self.queue,)

    async def prepare(self, client: Client, beside: str | None) -> None:
        """``beside``: a queue whose leader is to be this one's, too."""
        options: QueueOptions = {**self.plan.options, "visibility_timeout": self.plan.visibility}
        await client.create_queue(self.queue, beside=beside, **options)

    async def run(self, sending: Client, receiving: Client) -> None:
        async with asyncio.TaskGroup() as group:
            for sender in range(self.plan.senders):
                group.create_task(self._send(sending, sender))
            for _ in range(self.plan.receivers):
                group.create_task(self._receive(receiving))

    def stop_sending(self) -> None:
        self._stopped.set()

    async def drained(self, client: Client) -> None:
        """Returns when the queues say that they are empty. Waits for as long as that takes."""
        while True:
            try:
                if not sum([await self._held(client, queue) for queue in self.queues]):
                    return
            except BrokerError as error:
                self.history.failed("describe", error)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _held(self, client: Client, queue: str) -> int:
        counts = (await client.describe_queue(queue)).counts
        return counts.visible + counts.in_flight + counts.delayed + counts.moving

    # --- sending

    async def _send(self, client: Client, sender: int) -> None:
        plan, number = self.plan, 0
        producer = client.producer(self.queue)
        under_way: deque[asyncio.Task[None]] = deque()
        async with asyncio.TaskGroup() as group:
            while not self._stopped.is_set():
                keys = [(sender, number + each) for each in range(plan.batch)]
                number += plan.batch
                self.history.sending(keys)
                # A task runs up to its first wait in the order in which it was made: so do the sends of one sender.
                under_way.append(group.create_task(self._send_one(producer, keys)))
                if len(under_way) >= plan.ahead:
                    await under_way.popleft()
                await self._pause(plan.every)

    async def _send_one(self, producer: Producer, keys: Sequence[Key]) -> None:
        try:
            outcomes: list[SentMessage | BrokerError] = [
                *await producer.send_many([self._message(key) for key in keys])
            ]
        except PartlyRefused as error:
            outcomes = error.outcomes
        except BrokerError as error:
            outcomes = [error] * len(keys)
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, BrokerError):
                self.history.not_acknowledged(key, outcome)
            else:
                self.history.acknowledged(key, str(outcome.id), outcome.sequence_number)
        if isinstance(outcomes[0], BrokerError):
            await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)

    def _message(self, key: Key) -> OutgoingMessage:
        if not self.plan.fifo:
            return OutgoingMessage(body_of(key), delay=self.plan.delay or None)
        sender, number = key
        return OutgoingMessage(body_of(key), message_group=f"group-{sender}", deduplication_id=f"{sender}-{number}")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return

    # --- receiving

    async def _receive(self, client: Client) -> None:
        while True:
            await self._receive_once(client, self.queue)

    async def _receive_once(self, client: Client, queue: str) -> None:
        asked = self.history.now()
        try:
            messages = await client.receive(queue, self.plan.most, wait=self.plan.wait)
        except BrokerError as error:
            self.history.failed("receive", error)
            await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
            return
        keys = self._note(asked, messages)
        if keys:
            await self._handle(client, queue, list(zip(keys, messages, strict=True)))

    def _note(self, asked: float, messages: Sequence[ReceivedMessage]) -> list[Key]:
        keys = [key_of(message.body) for message in messages]
        self.history.received(
            asked,
            [
                (key, message.message_group or "", str(message.id), message.sequence_number)
                for key, message in zip(keys, messages, strict=True)
            ],
        )
        self.history.changed += [
            key for key, message in zip(keys, messages, strict=True) if message.body != body_of(key)
        ]
        return keys

    async def _handle(self, client: Client, queue: str, found: Sequence[tuple[Key, ReceivedMessage]]) -> None:
        if self.plan.hold:
            await asyncio.sleep(self.plan.hold)
        await self._delete(client, queue, found)

    async def _delete(self, client: Client, queue: str, found: Sequence[tuple[Key, ReceivedMessage]]) -> None:
        for key, _ in found:
            self.history.deleting(key)
        try:
            outcomes = await client.delete(queue, [message.receipt_handle for _, message in found])
        except BrokerError as error:
            self.history.failed("delete", error)
            return
        for (key, _), outcome in zip(found, outcomes, strict=True):
            if outcome is None:
                self.history.was_deleted(key)
            else:
                self.history.failed("delete", outcome)


def body_of(key: Key) -> bytes:
    head = b"%d %d " % key
    return head + (b"%d." % (key[0] * 1_000_003 + key[1]) * BODY_BYTES)[: BODY_BYTES - len(head)]


def key_of(body: bytes) -> Key:
    """Raises ValueError for a body that ``body_of`` did not make."""
    sender, number, _ = body.split(b" ", 2)
    return int(sender), int(number)

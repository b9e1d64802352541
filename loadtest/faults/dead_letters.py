"""Messages that fail twice, become dead letters, are moved back, and succeed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from broker.base.errors import BrokerError, MoveTaskRunning
from broker.client.client import Client
from broker.client.model import ReceivedMessage, RedrivePolicy
from loadtest.faults.history import History, Key
from loadtest.faults.traffic import Plan, Workload

FAILURES = 2
"""Receives that every other message takes before it is done with."""
_MOVE_EVERY_SECONDS = 1.0


class DeadLetters(Workload):
    def __init__(self, plan: Plan, number: int, history: History) -> None:
        super().__init__(plan, number, history)
        self._dead = f"{plan.name}-{number}-dead"
        self._refused: Counter[Key] = Counter()

    @property
    def queues(self) -> tuple[str, ...]:
        return (self.queue, self._dead)

    async def prepare(self, client: Client, beside: str | None) -> None:
        await client.create_queue(self._dead)
        redrive = RedrivePolicy(self._dead, FAILURES)
        await client.create_queue(self.queue, beside=beside, visibility_timeout=self.plan.visibility, redrive=redrive)

    async def run(self, sending: Client, receiving: Client) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run(sending, receiving))
            group.create_task(self._move(receiving))

    async def _handle(self, client: Client, queue: str, found: Sequence[tuple[Key, ReceivedMessage]]) -> None:
        failing = [(key, message) for key, message in found if key[1] % 2 and self._refused[key] < FAILURES]
        done = [each for each in found if each not in failing]
        if done:
            await self._delete(client, queue, done)
        if failing:
            await self._refuse(client, failing)

    async def _refuse(self, client: Client, failing: Sequence[tuple[Key, ReceivedMessage]]) -> None:
        for key, _ in failing:
            self._refused[key] += 1
            self.history.giving_back(key)
        try:
            await client.change_visibility(self.queue, [message.receipt_handle for _, message in failing], 0)
        except BrokerError as error:
            self.history.failed("change visibility", error)

    async def _move(self, client: Client) -> None:
        """Moves back what has become a dead letter, again and again."""
        while True:
            try:
                if (await client.describe_queue(self._dead)).counts.visible:
                    await client.start_move(self._dead)
            except MoveTaskRunning:
                pass
            except BrokerError as error:
                self.history.failed("move", error)
            await asyncio.sleep(_MOVE_EVERY_SECONDS)

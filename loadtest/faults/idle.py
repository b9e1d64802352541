"""A queue in every group that holds one message and that nobody uses: it is asked for its description all the time."""

from __future__ import annotations

import asyncio

from broker.base.errors import BrokerError
from broker.client.client import Client
from loadtest.faults.history import History
from loadtest.faults.traffic import Plan, Workload, body_of

_ASK_EVERY_SECONDS = 0.2
_QUEUES = 18
"""Enough for every group to have one; those beyond the first of a group stay empty and unasked."""


class IdleQueues(Workload):
    """Sender N's only message is in the queue of the Nth group."""

    def __init__(self, plan: Plan, number: int, history: History) -> None:
        super().__init__(plan, number, history)
        self._made = [f"{plan.name}-{number}-{each}" for each in range(_QUEUES)]
        self._chosen = self._made[:1]

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(self._chosen)

    async def prepare(self, client: Client, _beside: str | None) -> None:
        by_group: dict[int, str] = {}
        for name in self._made:
            await client.create_queue(name, visibility_timeout=self.plan.visibility)
            by_group.setdefault((await client.describe_queue(name)).group, name)
        self._chosen = list(by_group.values())
        for sender, name in enumerate(self._chosen):
            self.history.sending([(sender, 0)])
            sent = await client.send(name, body_of((sender, 0)))
            self.history.acknowledged((sender, 0), str(sent.id))

    async def run(self, _sending: Client, receiving: Client) -> None:
        async with asyncio.TaskGroup() as group:
            for name in self._chosen:
                group.create_task(self._ask(receiving, name))
        async with asyncio.TaskGroup() as group:
            for sender, name in enumerate(self._chosen):
                group.create_task(self._take(receiving, name, sender))

    async def _ask(self, client: Client, name: str) -> None:
        while not self._stopped.is_set():
            try:
                await client.describe_queue(name)
            except BrokerError as error:
                self.history.failed("describe", error)
            else:
                self.history.answered(name)
            await self._pause(_ASK_EVERY_SECONDS)

    async def _take(self, client: Client, name: str, sender: int) -> None:
        while (sender, 0) not in self.history.deleted:
            await self._receive_once(client, name)

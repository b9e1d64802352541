"""A backup is taken while queues are created, deleted, changed and spread: in the new cluster directory and groups
agree.

Random calls on random nodes, several at a time, leaders that change, answers that get lost, and at a random moment
somebody begins a backup. What is interrupted by it, the controllers of the new cluster bring to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from random import Random

import pytest

from broker.base.errors import BackupInProgress, BrokerError, Unavailable
from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.instants import SECOND, Millis
from broker.domain.directory.commands import ListResources, Resource, Unfinished, Unsettled
from broker.domain.queues.model import Described
from broker.domain.queues.questions import AllQueues
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.backup import CapturedCluster
from tests.properties.backup.new_cluster import restored
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started

SEEDS = range(60)
STEPS = 40
BEGINS = 10, 30
NAMES = ("a", "b", "c", "d.fifo")


class Changes:
    def __init__(self, cluster: FakeCluster, services: dict[str, Services], seed: int) -> None:
        self.cluster = cluster
        self.services = services
        self.chance = Random(seed)
        self.calm: dict[str, Millis] = {}
        """Visibility timeouts of queues that nobody touches any more when the backup begins."""
        self._under_way: list[asyncio.Task[None]] = []
        cluster.turns = lambda: self.chance.randint(1, 60)

    async def run(self) -> CapturedCluster:
        await self._make_calm_queues()
        begin = self.chance.randint(*BEGINS)
        backup: asyncio.Task[CapturedCluster] | None = None
        for step in range(STEPS):
            self._do_something()
            if step == begin:
                backup = asyncio.ensure_future(self._back_up())
            for _ in range(self.chance.randint(0, 60)):
                await asyncio.sleep(0)
        assert backup is not None
        captured = await backup
        await asyncio.gather(*self._under_way)
        return captured

    @property
    def node(self) -> Services:
        return self.services[self.chance.choice(sorted(self.services))]

    async def _make_calm_queues(self) -> None:
        for number in range(3):
            name, timeout = f"calm-{number}", Millis(self.chance.randint(1, 60) * SECOND)
            await self.node.queues.create(name, AttributeChanges(stripes=number + 1), soon(self.cluster))
            await self.node.queues.update(name, AttributeChanges(visibility_timeout=timeout), soon(self.cluster))
            self.calm[name] = timeout

    async def _back_up(self) -> CapturedCluster:
        while True:
            try:
                return await self.node.backup.begin(soon(self.cluster))
            except (BackupInProgress, Unavailable):
                await asyncio.sleep(0)

    def _do_something(self) -> None:
        name, queues, until = self.chance.choice(NAMES), self.node.queues, soon(self.cluster)
        changes = AttributeChanges(visibility_timeout=Millis(self.chance.randint(1, 60) * SECOND))
        spread = AttributeChanges(stripes=self.chance.randint(1, 4))
        match self.chance.choices(
            ["create", "delete", "update", "spread", "tend", "elect", "lose"], [5, 3, 3, 5, 2, 1, 1]
        )[0]:
            case "create":
                self._start(queues.create(name, changes, until))
            case "delete":
                self._start(queues.delete(name, until))
            case "update":
                self._start(queues.update(name, changes, until))
            case "spread":
                self._start(queues.update(name, spread, until))
            case "tend":
                self._start(self.node.controller.round())
            case "elect":
                self.cluster.elect(self.chance.randrange(5), self.chance.choice(self.cluster.nodes).id)
            case "lose":
                self.cluster.after.append(Unavailable("nobody knows"))

    def _start(self, call: Awaitable[object]) -> None:
        async def until_it_ends() -> None:
            with suppress(BrokerError):  # what a caller is told is judged elsewhere
                await call

        self._under_way.append(asyncio.ensure_future(until_it_ends()))


async def settled(cluster: FakeCluster) -> None:
    """The controllers have finished what was interrupted."""
    for group in range(5):
        cluster.elect(group, cluster.nodes[0].id)
    services = await started(cluster)
    for _ in range(6):
        cluster.clock.advance(20 * SECOND)
        await services["a-0"].controller.round()


def listed(cluster: FakeCluster) -> dict[int, Resource]:
    directory, now = cluster.machines[DIRECTORY_GROUP], cluster.clock.wall()
    assert directory.query("directory", Unfinished(now), now) == ()
    assert directory.query("directory", Unsettled(), now) == ()
    return {each.id: each for each in directory.query("directory", ListResources("queue"), now).resources}


def held(cluster: FakeCluster) -> dict[int, dict[GroupId, Described]]:
    found: dict[int, dict[GroupId, Described]] = {}
    for group, machine in cluster.machines.items():
        if group != DIRECTORY_GROUP:
            for queue, _ in machine.query("queues", AllQueues(), cluster.clock.wall()):
                found.setdefault(queue.queue, {})[group] = queue
    return found


@pytest.mark.parametrize("seed", SEEDS)
async def test_directory_and_groups_of_the_new_cluster_agree(seed: int) -> None:
    old = FakeCluster(nodes=3, groups=4)
    services = await started(old)
    changes = Changes(old, services, seed)
    captured = await changes.run()
    new = await restored(old, services["a-0"].backup, captured, changes.chance)
    await settled(new)
    resources, queues = listed(new), held(new)
    assert {identity: set(resource.groups) for identity, resource in resources.items()} == {
        identity: set(stripes) for identity, stripes in queues.items()
    }
    for identity, stripes in queues.items():
        attributes = {str(queue.attributes) for queue in stripes.values()}
        assert len(attributes) == 1, f"stripes of {resources[identity].name} have different attributes"
    timeouts = {
        resource.name: queues[identity][resource.group].attributes.visibility_timeout
        for identity, resource in resources.items()
    }
    assert timeouts | changes.calm == timeouts

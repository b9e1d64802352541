"""A backup is taken while messages go round between groups: in the new cluster each of them is there, and once.

Three queues in three groups are one another's dead-letter queues. Random messages are sent and moved on, leaders
change, answers get lost, and at a random moment somebody begins a backup.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from broker.aio.tasks import TaskScope
from broker.base.errors import BackupInProgress, Unavailable
from broker.base.ids import GroupId, QueueId
from broker.base.instants import WallMillis
from broker.domain.directory.commands import Resource
from broker.domain.queues.model import STATES, Target
from broker.domain.queues.questions import Browse
from broker.services.backup import CapturedCluster
from broker.services.contents import Contents
from tests.properties.backup.new_cluster import restored
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.moving_yard import Yard, yard
from tests.unit.services.running import services_of, soon

SEEDS = range(60)
STEPS = 120
BEGINS = 30, 90
RING = ("red", "green", "blue")


def target(place: int) -> Target:
    name, group = RING[place % 3], place % 3 + 1
    return Target(name, QueueId(sum(name.encode()) * 100 + group), (GroupId(group),))


def known() -> dict[int, Resource]:
    found = [target(place) for place in range(3)]
    return {each.id: Resource("queue", each.name, each.id, each.groups[0], "active", WallMillis(0)) for each in found}


class Round:
    def __init__(self, yard: Yard, seed: int) -> None:
        self.yard = yard
        self.cluster = yard.cluster
        self.chance = Random(seed)
        self.cluster.turns = lambda: self.chance.randint(1, 40)
        self.sent: list[bytes] = []
        self.before: list[bytes] = []
        for place in range(3):
            assert yard.make(RING[place], place + 1, dead_letters_to=target(place + 1)) == target(place)

    async def run(self) -> CapturedCluster:
        """What was captured at a random moment. What had been sent when that began is in ``before``."""
        begin = self.chance.randint(*BEGINS)
        backup: asyncio.Task[CapturedCluster] | None = None
        for step in range(STEPS):
            self._do_something()
            if step == begin:
                self.before = list(self.sent)
                backup = asyncio.ensure_future(self._back_up())
            for _ in range(self.chance.randint(0, 12)):
                await asyncio.sleep(0)
        assert backup is not None
        return await backup

    async def _back_up(self) -> CapturedCluster:
        while True:
            node = self.chance.choice(list(self.yard.nodes.values()))
            try:
                return await node.backup.begin(soon(self.cluster))
            except (BackupInProgress, Unavailable):
                await asyncio.sleep(0)

    def _do_something(self) -> None:
        queue = target(self.chance.randrange(3))
        match self.chance.choices(["send", "move", "elect", "fail", "lose"], [6, 8, 1, 1, 1])[0]:
            case "send":
                bodies = [b"%d" % (len(self.sent) + place) for place in range(self.chance.randint(1, 5))]
                self.yard.send(queue, bodies)
                self.sent += bodies
            case "move":
                self.yard.kill(queue)
            case "elect":
                self.cluster.elect(self.chance.randrange(4), self.chance.choice(self.cluster.nodes).id)
            case "fail":
                self.cluster.before.append(Unavailable("nothing happened"))
            case "lose":
                self.cluster.after.append(Unavailable("nobody knows"))


async def settled(cluster: FakeCluster) -> Yard:
    """Everything that is on its way has arrived."""
    nodes = {node.id: services_of(cluster, node.id) for node in cluster.nodes}
    async with TaskScope("couriers", lambda *_: None) as scope:
        for each in nodes.values():
            each.courier.start(scope)
        there = Yard(cluster, nodes, {})
        await there.carried()
    return there


def bodies_in(cluster: FakeCluster) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    contents = Contents(next(iter(cluster.on.values())))
    for place in range(3):
        queue, (group,) = target(place).id, target(place).groups
        page = cluster.machines[group].query("queues", Browse(queue, STATES, limit=10_000), cluster.clock.wall())
        for each in page.messages:
            content = contents.of_entry(group, each.index)
            assert content is not None
            found[content.messages[each.slot].body] += 1
    return found


@pytest.mark.parametrize("seed", SEEDS)
async def test_each_message_is_in_the_backup_and_once(seed: int) -> None:
    async with yard() as old:
        traffic = Round(old, seed)
        captured = await traffic.run()
        service = next(iter(old.nodes.values())).backup
        new = await restored(old.cluster, service, captured, traffic.chance, known())
        # the old cluster is none the worse for it
        old.cluster.before.clear()
        old.cluster.after.clear()
        await old.carried()
        assert bodies_in(old.cluster) == Counter(traffic.sent)
    for group in range(4):
        new.elect(group, new.nodes[group % 3].id)
    await settled(new)
    found = bodies_in(new)
    assert set(traffic.before) - set(found) == set(), "messages are missing"
    assert [body for body, times in found.items() if times > 1] == [], "messages are doubled"
    assert set(found) <= set(traffic.sent)

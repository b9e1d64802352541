"""Whatever is done to a spread queue at once: what was acknowledged is received, and nothing is stored twice.

Random calls on random nodes, several at a time: batches under request ids and again under the same, receives, deletes,
more stripes and fewer, changes of attributes, controllers' rounds, changes of leaders, and answers that get lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from broker.base.errors import BrokerError, Unavailable
from broker.base.instants import Millis
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon
from tests.unit.services.striped import place_of, spread_cluster, told

SEEDS = range(40)
ROUNDS = 60
AT_ONCE = 4
SESSIONS = 8
TIMEOUT = Millis(5_000)


class Traffic:
    def __init__(self, seed: int, cluster: FakeCluster, services: dict[str, Services]) -> None:
        self.random = Random(seed)
        self.cluster = cluster
        self.services = services
        self.numbers = {bytes([session]) * 16: 0 for session in range(SESSIONS)}
        self.open: dict[RequestId, list[bytes]] = {}
        """Batches without an answer so far."""
        self.acknowledged: set[bytes] = set()
        self.ids: dict[bytes, set[bytes]] = {}
        """Under which ids each body was received."""
        self.deleted: Counter[bytes] = Counter()

    async def step(self) -> None:
        weights = {
            self.send_new: 6,
            self.send_again: 6,
            self.receive: 6,
            self.restripe: 5,
            self.update: 1,
            self.controller: 2,
            self.elect: 1,
            self.lose_an_answer: 1,
        }
        await self.random.choices(list(weights), list(weights.values()))[0]()

    @property
    def node(self) -> Services:
        return self.services[self.random.choice(sorted(self.services))]

    async def send_new(self) -> None:
        session = self.random.choice(sorted(self.numbers))
        if any(request.session == session for request in self.open):
            return
        self.numbers[session] += 1
        request = RequestId(session, self.numbers[session])
        self.open[request] = [b"%d.%d.%d" % (session[0], request.number, each) for each in range(2)]
        await self.send(request)

    async def send_again(self) -> None:
        waiting = sorted(self.open, key=lambda request: (request.session, request.number))
        if waiting:
            await self.send(self.random.choice(waiting))

    async def send(self, request: RequestId) -> None:
        """Also while another attempt is still on its way, as by a client whose connection broke."""
        bodies = self.open[request]
        try:
            result = await self.node.queues.send("orders", pack_bodies(bodies), soon(self.cluster), request)
        except BrokerError as error:
            if not error.retryable:
                raise
            return
        assert result.accepted == 2
        self.acknowledged.update(bodies)
        self.open.pop(request, None)

    async def receive(self) -> None:
        try:
            answer = await self.node.queues.receive("orders", 3, soon(self.cluster), Millis(0))
        except BrokerError:
            return
        for message in answer.messages:
            self.ids.setdefault(message.body, set()).add(message.id)
        if not answer.messages or self.random.random() < 0.2:
            return
        handles = [message.handle for message in answer.messages]
        try:
            failures = dict(await self.node.queues.delete_messages("orders", handles, soon(self.cluster)))
        except BrokerError:
            return
        self.deleted.update(message.body for place, message in enumerate(answer.messages) if place not in failures)

    async def restripe(self) -> None:
        await self.change(AttributeChanges(stripes=self.random.randint(1, 4)))

    async def update(self) -> None:
        await self.change(AttributeChanges(delay=Millis(self.random.choice([0, 0, 10]))))

    async def change(self, changes: AttributeChanges) -> None:
        try:
            await self.node.queues.update("orders", changes, soon(self.cluster))
        except BrokerError:
            return

    async def controller(self) -> None:
        self.cluster.clock.advance(self.random.choice([1, 100, 1_000, 10_001]))
        try:
            await self.node.controller.round()
        except BrokerError:
            return

    async def elect(self) -> None:
        group = self.random.choice(self.cluster.groups).id
        self.cluster.elect(group, self.random.choice(sorted(self.services)))

    async def lose_an_answer(self) -> None:
        where = self.random.choice([self.cluster.before, self.cluster.after])
        where.append(Unavailable("the connection broke"))

    async def come_to_rest(self) -> None:
        """Every batch gets its answer, every interruption its end, and every message is received."""
        self.cluster.before.clear()
        self.cluster.after.clear()
        for request in list(self.open):
            for _ in range(3):
                if request in self.open:
                    await self.send(request)
        assert not self.open
        for _ in range(6):
            for services in self.services.values():
                self.cluster.clock.advance(10_001)
                await services.controller.round()
                for _ in range(100):
                    before = sum(self.deleted.values())
                    for each in self.services.values():
                        await self._empty(each)
                    if sum(self.deleted.values()) == before:
                        break

    async def _empty(self, services: Services) -> None:
        answer = await services.queues.receive("orders", 100, soon(self.cluster), Millis(0))
        for message in answer.messages:
            self.ids.setdefault(message.body, set()).add(message.id)
        if answer.messages:
            handles = [message.handle for message in answer.messages]
            assert await services.queues.delete_messages("orders", handles, soon(self.cluster)) == ()
            self.deleted.update(message.body for message in answer.messages)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_acknowledged_is_lost_and_nothing_is_stored_twice(seed: int) -> None:
    cluster, services = await spread_cluster(nodes=3, groups=4)
    changes = AttributeChanges(stripes=1 + seed % 4, visibility_timeout=TIMEOUT)
    await services["a-0"].queues.create("orders", changes, soon(cluster))
    traffic = Traffic(seed, cluster, services)

    for _ in range(ROUNDS):
        await asyncio.gather(*(traffic.step() for _ in range(traffic.random.randint(1, AT_ONCE))))
    await traffic.come_to_rest()

    assert set(traffic.ids) == traffic.acknowledged
    assert {body: ids for body, ids in traffic.ids.items() if len(ids) > 1} == {}
    place = place_of(cluster)
    assert (place.joining, place.draining, place.tellings) == ((), (), ())
    known = told(cluster)
    assert set(known) == set(place.groups)
    assert len({(each.attributes, each.groups) for each in known.values()}) == 1
    assert next(iter(known.values())).attributes.stripes == len(place.groups)

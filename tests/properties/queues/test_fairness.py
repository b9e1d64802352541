"""Quiet tenants beside a noisy one: how long their messages wait, in a simulated team of consumers.

The noisy tenant has a backlog that lasts, and slow work: it could keep every consumer busy for hours. What a quiet
message may wait follows from the rule: while the noisy tenant has limits.NOISY_IN_FLIGHT messages in flight, whoever
becomes free takes a quiet message. So all but that many consumers serve the quiet tenants whenever these have messages,
each of them after at most one slow batch, the most that it can have taken on of the noisy tenant's; and the quiet
tenants here need only half of those consumers, so nothing piles up that one round would not clear. Hence the bound: no
message waits longer than one slow batch beyond what it waits without the noisy tenant, and on average a quarter of
that; whereas in the order of sending it would wait for the whole backlog.

A quiet tenant is one that does not have NOISY_IN_FLIGHT messages in flight even when its messages of one slow batch
are received at once. Who sends more may count as noisy for a while, and is then served in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.base.ids import Index, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import NOISY_IN_FLIGHT
from broker.domain.queues import commands, questions, standard
from broker.domain.queues.commands import Deliveries, Delivery
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.message_groups import MessageGroup, MessageGroups
from broker.domain.queues.model import Handle, QueueAttributes
from broker.domain.queues.picking import Picking
from broker.machine.contract import Place

QUEUE = QueueId(1)
START = 1_700_000_000_000
CONTENT = msgspec.Raw(msgspec.msgpack.encode([]))
NOISY = "noisy"
QUIET_WORK = 40
BACKLOG = 8_000
FOR_EVER = 1 << 40


@dataclass(frozen=True)
class Team:
    """``slow``: milliseconds that a message of the noisy tenant takes, half of it more or less."""

    consumers: int
    batch: int
    slow: int
    tenants: int
    seed: int

    @property
    def slow_batch(self) -> int:
        """What a consumer may have taken on at once, at most."""
        return self.slow * 3 // 2 * self.batch

    @property
    def lasts(self) -> int:
        """How long the quiet tenants send."""
        return 2_000 + 2 * self.slow_batch


teams = st.builds(
    Team,
    consumers=st.integers(NOISY_IN_FLIGHT + 10, 80),
    batch=st.sampled_from([1, 1, 3]),
    slow=st.integers(200, 1_000),
    tenants=st.integers(1, 12),
    seed=st.integers(0, 1_000_000),
)


@dataclass
class Simulation:
    """Consumers receive, work off what they got one by one, delete it and receive again; idle ones wait for a send."""

    team: Team
    noisy: bool
    at: int = START
    waits: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of the quiet messages, by tenant and turn: from sent to received."""

    def __post_init__(self) -> None:
        self.machine = QueueMachine()
        self.index = 0
        self.planned = 0
        self.chance = Random(self.team.seed)
        self.idle = self.team.consumers
        self.turns: dict[tuple[int, int], tuple[str, int]] = {}
        self.events: list[tuple[int, int, str, int, tuple[Handle, ...]]] = []
        """Heap: when, in the order of planning; a tenant's turn to send, or ("") what a consumer has done."""
        self.apply(commands.CreateQueue(QUEUE, "orders", QueueAttributes(visibility_timeout=Millis(43_200_000))))

    def run(self) -> Simulation:
        if self.noisy:
            for _ in range(BACKLOG // 1_000):
                self.send(NOISY, 1_000)
        for tenant, turn, at in self.quiet_sends():
            self.plan(at, tenant, turn, ())
        self.serve()
        while self.events and self.at < START + self.team.lasts + 4 * self.team.slow_batch:
            self.at, _, tenant, turn, done = heappop(self.events)
            if tenant:
                sent = self.send(tenant, 1)
                self.turns[sent.index, 0] = tenant, turn
            else:
                self.apply(commands.Delete(QUEUE, done))
                self.idle += 1
            self.serve()
        return self

    def quiet_sends(self) -> Iterator[tuple[str, int, int]]:
        """At random moments; all of them keep at most half of the consumers busy whom the noisy tenant must leave them,
        and none sends within one slow batch as much as would make it noisy itself."""
        to_spare = self.team.consumers - NOISY_IN_FLIGHT
        pause = max(2 * QUIET_WORK * self.team.tenants / to_spare, 2 * self.team.slow_batch / NOISY_IN_FLIGHT)
        chance = Random(self.team.seed + 1)
        for tenant in range(self.team.tenants):
            at, turn = START + chance.uniform(0, 1_000), 0
            while at < START + self.team.lasts:
                yield f"quiet-{tenant}", turn, int(at)
                at, turn = at + chance.uniform(0.5, 1.5) * pause, turn + 1

    def noisy_left(self) -> int:
        """Messages of the noisy tenant that wait."""
        census = self.machine.query(questions.CensusOf(QUEUE, ()), WallMillis(self.at))
        return sum(waiting for name, waiting, _ in census.groups if name == NOISY)

    def serve(self) -> None:
        while self.idle:
            reply = self.apply(commands.Receive(QUEUE, self.team.batch))
            if not reply.deliveries:
                return
            self.idle -= 1
            self.work_off(reply)

    def work_off(self, received: Deliveries) -> None:
        ready = self.at
        for delivery in received.deliveries:
            if delivery.group != NOISY:
                self.waits[self.turns[delivery.index, delivery.slot]] = self.at - delivery.sent_at
            ready += self.work_on(delivery)
        done = tuple(Handle(each.index, each.slot, each.receipt) for each in received.deliveries)
        self.plan(ready, "", 0, done)

    def work_on(self, delivery: Delivery) -> int:
        return int(self.chance.uniform(0.5, 1.5) * self.team.slow) if delivery.group == NOISY else QUIET_WORK

    def plan(self, at: int, tenant: str, turn: int, done: tuple[Handle, ...]) -> None:
        self.planned += 1
        heappush(self.events, (at, self.planned, tenant, turn, done))

    def send(self, tenant: str, count: int) -> commands.Sent:
        sent = self.apply(commands.Send(QUEUE, count, 1, None, CONTENT, groups=(tenant,) * count))
        assert isinstance(sent, commands.Sent)
        return sent

    def apply(self, command: commands.Command) -> commands.Reply:
        self.index += 1
        place = Place(Index(self.index), WallMillis(self.at))
        return self.machine.apply(msgspec.msgpack.encode(command), place).reply


def delays(team: Team) -> list[int]:
    """How much longer each message of the quiet tenants waits beside a noisy one than without it; as good as for ever
    when it was not received by the end."""
    alone, beside = Simulation(team, noisy=False).run(), Simulation(team, noisy=True).run()
    assert beside.noisy_left(), "the backlog of the noisy tenant did not last"
    return [beside.waits.get(each, FOR_EVER) - alone.waits[each] for each in alone.waits]


def hardly_longer(longer: list[int], team: Team) -> bool:
    return max(longer) <= team.slow_batch and sum(longer) / len(longer) <= team.slow_batch / 4


@given(team=teams)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_quiet_tenants_hardly_wait_longer_beside_a_noisy_one(team: Team) -> None:
    longer = delays(team)
    assert hardly_longer(longer, team), f"up to {max(longer)} ms, a slow batch takes {team.slow_batch} ms"


@given(team=teams)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_in_the_order_of_sending_they_would_wait_for_the_backlog(team: Team) -> None:
    """The same measure, of a queue that hands out what was sent first: else it would show nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard, "pick_fairly", pick_the_oldest)
        longer = delays(team)
    assert not hardly_longer(longer, team)


def pick_the_oldest(picking: Picking, wanted: int, plain: MessageGroup, named: MessageGroups, in_flight: int) -> None:
    left = wanted
    while left and (group := named.first(lambda _: True)) is not None:
        left -= picking.take(group, 1)


@given(team=teams)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_noisy_tenant_gets_all_the_time_that_is_left(team: Team) -> None:
    simulation = Simulation(team, noisy=True).run()
    assert simulation.noisy_left()
    assert simulation.idle == 0

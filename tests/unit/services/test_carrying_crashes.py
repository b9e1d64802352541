"""Couriers that crash at every step, answers that get lost, commands that come late and twice, two couriers at a time:
whatever left the outbox is in the end in exactly one place, and in order."""

from __future__ import annotations

from random import Random

import pytest

from broker.base.errors import Unavailable
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.services.carrying import (
    Answered,
    Carry,
    Carrying,
    CarryingSettings,
    Input,
    Note,
    Noted,
    Output,
    Unanswered,
    Unnoted,
    Woken,
)
from tests.unit.services.carried_world import NOWHERE, Box, Far, Load, Source

SETTINGS = CarryingSettings(look_ahead=12, page=4, read=50, batch=3)
LOST = Unavailable("no answer")
PARCELS = 20


class Courier:
    """One node's, while it believes to lead the source: ``pending`` is what it has begun."""

    def __init__(self, source: Source) -> None:
        self.pending: list[Output[Box]] = []
        self._core = Carrying(source, SETTINGS)
        self._now = Millis(0)
        self.tell(Woken())

    def tell(self, happened: Input) -> None:
        self._keep(self._core.handle(happened, self._now))

    def rest(self) -> None:
        """Until its next deadline."""
        deadline = self._core.next_deadline()
        if deadline is not None:
            self._now = max(self._now, deadline)
            self._keep(self._core.wake(self._now))

    def lost(self, output: Output[Box]) -> None:
        self.tell(Unanswered(output.target, LOST) if isinstance(output, Carry) else Unnoted(LOST))

    def _keep(self, outputs: list[Output[Box]]) -> None:
        self.pending += outputs


class World:
    """``leader`` is the courier of the node that leads the source; ``old`` ones may still have commands under way."""

    def __init__(self) -> None:
        self.source = Source()
        self.fars = {GroupId(1): Far(), GroupId(2): Far()}
        self.leaving: dict[str, int] = {}
        self.leader = Courier(self.source)
        self.old: list[Courier] = []

    def leave(self, chance: Random) -> None:
        number = len(self.leaving)
        name = f"{'bad ' if chance.random() < 0.2 else ''}m{number}"
        target = chance.choice((1, 1, 2, NOWHERE)) if chance.random() < 0.4 else 1
        self.leaving[name] = target
        self.source.leave(name, target, read=chance.choice((0, 20)))

    def elect(self) -> None:
        self.old.append(self.leader)
        self.leader = Courier(self.source)

    def do(self, courier: Courier, output: Output[Box], answered: bool = True) -> None:
        """Let a command take effect. Of a note, only the leader's does."""
        if isinstance(output, Carry):
            assert isinstance(output.command, Load)
            answer: Input = Answered(output.target, self.fars[output.target].arrive(output.command))
        else:
            assert isinstance(output, Note)
            if courier is not self.leader:
                return courier.lost(output)
            self.source.note(output)
            answer = Noted()
        return courier.tell(answer) if answered else courier.lost(output)

    def finish(self) -> None:
        """No more trouble: the leader carries what there is."""
        self.leader.tell(Woken())
        for _ in range(1_000):
            if not self.source.outbox and not self.leader.pending:
                return
            if self.leader.pending:
                self.do(self.leader, self.leader.pending.pop(0))
            else:
                self.leader.rest()
        raise AssertionError(f"{list(self.source.outbox)} are still in the outbox")

    def check(self) -> None:
        found = sorted([*self.source.home, *(name for far in self.fars.values() for name in far.taken)])
        assert found == sorted(self.leaving), "something is lost or doubled"
        good = {name for name in self.leaving if not name.startswith("bad")}
        for target, far in self.fars.items():
            assert far.taken == [name for name in self.leaving if name in good and self.leaving[name] == target]
            assert len(far.refused) <= PARCELS


FATES = ("lost before it took effect", "its answer lost", "the leader gone before", "the leader gone after")


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("second", FATES)
def test_a_crash_at_any_two_steps_neither_loses_nor_doubles(fate: str, second: str) -> None:
    for step in range(30):
        for distance in (1, 2, 5):
            world = World()
            chance = Random("parcels")
            for _ in range(PARCELS):
                world.leave(chance)
            world.leader.tell(Woken())
            troubles = {step: fate, step + distance: second}
            for count in range(step + distance + 1):
                while not world.leader.pending and world.source.outbox:
                    world.leader.rest()
                if not world.leader.pending:
                    break
                suffer(world, troubles.get(count, ""))
            world.finish()
            for courier in world.old:
                while courier.pending:
                    world.do(courier, courier.pending.pop(0))
            world.check()


def suffer(world: World, fate: str) -> None:
    courier = world.leader
    output = courier.pending.pop(0)
    if fate == "lost before it took effect":
        courier.lost(output)
    elif fate == "the leader gone before":
        courier.pending.insert(0, output)
        world.elect()
    else:
        world.do(courier, output, answered=fate != "its answer lost")
        if fate == "the leader gone after":
            world.elect()


@pytest.mark.parametrize("seed", range(300))
def test_any_order_of_events_neither_loses_nor_doubles(seed: int) -> None:
    chance = Random(seed)
    world = World()
    late: list[Carry] = []
    while len(world.leaving) < PARCELS or chance.random() < 0.9:
        deed = chance.random()
        if deed < 0.2 and len(world.leaving) < PARCELS:
            world.leave(chance)
            world.leader.tell(Woken())
        elif deed < 0.25:
            world.elect()
        elif deed < 0.35 and late:
            carry = chance.choice(late)
            assert isinstance(carry.command, Load)
            world.fars[carry.target].arrive(carry.command)
        elif deed < 0.5:
            chance.choice([world.leader, *world.old]).rest()
        else:
            courier = chance.choice([world.leader, world.leader, *world.old])
            if courier.pending:
                output = courier.pending.pop(chance.randrange(len(courier.pending)))
                if isinstance(output, Carry) and chance.random() < 0.3:
                    late.append(output)
                if chance.random() < 0.2:
                    courier.lost(output)
                else:
                    world.do(courier, output, answered=chance.random() < 0.8)
    world.finish()
    for carry in late:
        assert isinstance(carry.command, Load)
        world.fars[carry.target].arrive(carry.command)
    world.check()

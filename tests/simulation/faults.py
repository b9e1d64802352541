"""The schedule that makes go wrong what the rates say, and then heals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from tests.simulation.clock import NodeClock
from tests.simulation.rates import CLOCKS_BELIEVED_FOR, LEAP, Rates
from tests.simulation.world import MILLISECOND, World


class Disk(Protocol):
    """What the schedule needs of a disk."""

    sync_time: int

    def cut_after(self, operations: int, power_lost: bool) -> None: ...
    def rot(self) -> None: ...
    def fill(self, left: int) -> None: ...
    def make_room(self) -> None: ...


class Victim(Protocol):
    """What the schedule needs of a node."""

    name: str
    clock: NodeClock
    drive: Disk

    @property
    def up(self) -> bool: ...
    def crash(self, power_lost: bool) -> None: ...
    def start(self) -> None: ...
    def pause(self, duration: int) -> None: ...
    def lose_disk(self) -> None: ...
    def behave(self) -> None: ...
    def hand_over(self, chance: Random) -> None: ...
    def leads_something(self) -> bool: ...


class Lines(Protocol):
    """What the schedule needs of the network."""

    def block(self, source: str, target: str) -> None: ...
    def unblock(self, source: str, target: str) -> None: ...
    def behave(self) -> None: ...


class FaultSchedule:
    """Injects faults from the start until ``heal``; after that everything works for ever."""

    def __init__(
        self, world: World, rates: Rates, nodes: list[Victim], network: Lines, safe: Callable[[], bool]
    ) -> None:
        """``safe``: whether every group that may hold something has all its replicas, with all that is committed."""
        self._world = world
        self._rates = rates
        self._nodes = nodes
        self._network = network
        self._chance = world.chance("faults")
        self._safe = safe
        self._healed = False
        self._wrong: Victim | None = None
        """Whose clock is wrong, where only one is at a time."""
        self._clock_set_at = 0
        self._rotten: Victim | None = None

    def begin(self) -> None:
        rates = self._rates
        for every, act in (
            (rates.kill_every, self._kill),
            (rates.power_loss_every, self._power_loss),
            (rates.all_down_every, self._all_down),
            (rates.partition_every, self._partition),
            (rates.pause_every, self._pause),
            (rates.slow_disk_every, self._slow_disk),
            (rates.clock_jump_every, self._clock_jump),
            (rates.transfer_every, self._hand_over),
            (rates.lost_disk_every, self._lose_disk),
            (rates.rot_every, self._rot),
            (rates.full_disk_every, self._fill_disk),
            (rates.zone_cut_every, self._cut_zone),
        ):
            if every is not None:
                self._again(every, act)
        if rates.leap_at is not None:
            self._world.after(rates.leap_at, self._leap)

    def heal(self) -> None:
        self._world.note("heal")
        self._healed = True
        self._network.behave()
        for node in self._nodes:
            node.drive.sync_time = min(self._rates.sync_time, 5 * MILLISECOND)
            node.drive.make_room()
            node.behave()
            if not node.up:
                node.start()

    # --- the faults

    def _again(self, every: int, act: object) -> None:
        self._world.after(int(self._chance.expovariate(1.0) * every) + 1, self._inject, every, act)

    def _inject(self, every: int, act: object) -> None:
        if not self._healed:
            act()  # type: ignore[operator]
            self._again(every, act)

    def _victim(self) -> Victim | None:
        """Leaders are hit more often than chance alone would hit them."""
        running = [node for node in self._nodes if node.up]
        leading = [node for node in running if node.leads_something()]
        if leading and self._chance.random() < 0.5:
            running = leading
        return self._chance.choice(running) if running else None

    def _kill(self) -> None:
        self._crash("kill", power_lost=False)

    def _power_loss(self) -> None:
        self._crash("power loss", power_lost=True)

    def _crash(self, fault: str, power_lost: bool) -> None:
        """At once, or at one of the next things that the victim does to its disk."""
        victim = self._victim()
        if victim is None:
            return
        self._world.hit(fault)
        if self._chance.random() < 0.5:
            victim.crash(power_lost)
        else:
            victim.drive.cut_after(self._chance.randrange(0, 12), power_lost)

    def _all_down(self) -> None:
        self._world.hit("all down")
        for node in self._nodes:
            if node.up:
                node.crash(power_lost=True)

    def died(self, node: Victim, led: bool) -> None:
        """A node's process has ended; it comes back."""
        if led:
            self._world.counts["leader crash"] += 1
        delay = self._chance.expovariate(1.0) * self._rates.down_for
        self._world.after(10_000 if self._healed else int(delay) + 10_000, self._restart, node)

    def _restart(self, node: Victim) -> None:
        if not node.up:
            node.start()

    def _partition(self) -> None:
        """One zone is cut off from the others, or from one of them; both ways or one way."""
        chance = self._chance
        cut = self._victim() or chance.choice(self._nodes)
        others = [node for node in self._nodes if node is not cut]
        if chance.random() < 0.3:
            others = [chance.choice(others)]
        outward, inward = True, True
        if chance.random() < self._rates.one_way:
            outward = chance.random() < 0.5
            inward = not outward
            self._world.counts["asymmetric partition"] += 1
        self._world.hit("partition")
        pairs = [(cut.name, other.name) for other in others if outward]
        pairs += [(other.name, cut.name) for other in others if inward]
        for source, target in pairs:
            self._network.block(source, target)
        self._world.after(int(chance.expovariate(1.0) * self._rates.partition_for) + 1, self._mend, pairs)

    def _mend(self, pairs: list[tuple[str, str]]) -> None:
        for source, target in pairs:
            self._network.unblock(source, target)

    def _cut_zone(self) -> None:
        """All machines of a zone, from all others; or they go dark."""
        chance = self._chance
        zone = chance.choice(sorted({node.name[0] for node in self._nodes}))
        inside = [node for node in self._nodes if node.name[0] == zone]
        if chance.random() < 0.4:
            self._world.hit("zone down")
            for node in inside:
                if node.up:
                    node.crash(power_lost=True)
            return
        self._world.hit("zone cut")
        outside = [node.name for node in self._nodes if node.name[0] != zone]
        pairs = [(node.name, other) for node in inside for other in outside]
        pairs += [(other, node) for node, other in pairs]
        for source, target in pairs:
            self._network.block(source, target)
        self._world.after(int(chance.expovariate(1.0) * self._rates.partition_for) + 1, self._mend, pairs)

    def strike(self, name: str) -> None:
        """``name`` is about to change the membership of a group that it leads: before it does, or soon after."""
        chance = self._chance
        if chance.random() < self._rates.strikes:
            (leader,) = [node for node in self._nodes if node.name == name]
            if chance.random() >= self._rates.strikes_late:
                self._strike(leader)
            else:
                self._world.after(chance.randrange(20 * self._rates.latency), self._strike, leader)

    def strike_forming(self, holders: Sequence[str]) -> None:
        """A group that is being formed may have replicas on ``holders``: it holds nothing, and may lose them."""
        if self._rates.lost_forming and self._chance.random() < self._rates.lost_forming:
            name = self._chance.choice(holders)
            (victim,) = [node for node in self._nodes if node.name == name]
            if not self._healed and self._safe():
                self._world.hit("lost disk of a forming group")
                self._lose_disk_of(victim)

    def _strike(self, leader: Victim) -> None:
        chance = self._chance
        if self._healed:
            return
        if chance.random() < self._rates.splits:
            self._world.hit("split at a change")
            self._split()
        else:
            self._world.hit("crash at a change")
            leader.drive.cut_after(chance.randrange(0, 8), power_lost=chance.random() < 0.5)

    def _split(self) -> None:
        """Everybody is on one side or the other."""
        here = {node.name for node in self._nodes if self._chance.random() < 0.5}
        there = [node.name for node in self._nodes if node.name not in here]
        pairs = [(a, b) for a in sorted(here) for b in there]
        pairs += [(b, a) for a, b in pairs]
        for source, target in pairs:
            self._network.block(source, target)
        self._world.after(int(self._chance.expovariate(1.0) * self._rates.partition_for) + 1, self._mend, pairs)

    def _lose_disk(self, tries: int = 20) -> None:
        """As soon as nothing is missing where it counts: at most one disk may be lost at a time."""
        if self._healed:
            return
        if self._safe():
            victim = self._victim() or self._chance.choice(self._nodes)
            self._world.hit("lost disk")
            self._lose_disk_of(victim)
        elif tries:
            self._world.after(100 * MILLISECOND, self._lose_disk, tries - 1)

    def _lose_disk_of(self, victim: Victim) -> None:
        self._world.note(victim.name, "loses its disk")
        victim.lose_disk()

    def _rot(self) -> None:
        if self._rotten is None:
            self._rotten = self._chance.choice(self._nodes)
        self._rotten.drive.rot()

    def _fill_disk(self) -> None:
        victim = self._chance.choice(self._nodes)
        self._world.hit("full disk")
        victim.drive.fill(self._chance.choice((0, 1_000, 20_000)))
        self._world.after(self._rates.full_disk_for, victim.drive.make_room)

    def _pause(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._world.hit("pause")
            victim.pause(int(self._chance.expovariate(1.0) * self._rates.pause_for))

    def _slow_disk(self) -> None:
        victim = self._chance.choice(self._nodes)
        self._world.hit("slow disk")
        victim.drive.sync_time = self._rates.slow_disk_time
        self._world.after(self._rates.slow_disk_for, self._quick_disk, victim)

    def _quick_disk(self, victim: Victim) -> None:
        if not self._healed:
            victim.drive.sync_time = self._rates.sync_time

    def _clock_jump(self) -> None:
        victim = self._chance.choice(self._nodes)
        if self._rates.honest_clocks:
            if self._world.now - self._clock_set_at < CLOCKS_BELIEVED_FOR:
                return
            self._clock_set_at = self._world.now
            if self._wrong is not None:
                self._wrong.clock.set_right()
                self._wrong = None
                return
            self._wrong = victim
        self._world.hit("clock jump")
        victim.clock.jump(self._chance.randint(-self._rates.clock_jump_max, self._rates.clock_jump_max))

    def _leap(self) -> None:
        if not self._healed:
            self._world.hit("clock leap")
            self._world.note("all clocks leap", LEAP)
            for node in self._nodes:
                node.clock.leap(LEAP)

    def _hand_over(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._world.hit("hand over")
            victim.hand_over(self._chance)

"""What may go wrong: one struct of rates, drawn from the seed, and the schedule that makes it happen and then heals.

Not every seed has every fault: a run in which everything fails all the time explores less than many runs that each fail
in their own way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

import msgspec

from tests.simulation.clock import NodeClock
from tests.simulation.world import MILLISECOND, SECOND, World

MINUTE = 60_000
"""In milliseconds."""
LEAP = 330_000
"""Milliseconds: longer than anything is deduplicated, shorter than requests are remembered."""


CLOCKS_BELIEVED_FOR = 3 * SECOND
"""A clock that was set right is still believed wrong by some for so long: until then no other goes wrong."""


class Rates(msgspec.Struct, frozen=True):
    """Intervals are means in microseconds, None: never. Probabilities per frame, request or write."""

    latency: int = 300
    jitter: int = 200
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    kill_every: int | None = None
    """A process dies: what it had written but not synced stays with the operating system."""
    power_loss_every: int | None = None
    """A machine dies: unsynced writes are lost or torn, and nobody is told."""
    all_down_every: int | None = None
    down_for: int = 1 * SECOND
    partition_every: int | None = None
    partition_for: int = 3 * SECOND
    one_way: float = 0.0
    """Share of the partitions that cut one direction only."""
    pause_every: int | None = None
    pause_for: int = 1 * SECOND
    sync_time: int = 1 * MILLISECOND
    slow_disk_every: int | None = None
    slow_disk_for: int = 2 * SECOND
    slow_disk_time: int = 150 * MILLISECOND
    clock_jump_every: int | None = None
    clock_jump_max: int = 0
    """Milliseconds, either way."""
    honest_clocks: bool = False
    """Never more than one clock is wrong at a time: then log time must be right."""
    drift: int = 0
    """Parts per million, either way."""
    reply_loss: float = 0.0
    request_duplication: float = 0.0
    transfer_every: int | None = None
    """Leadership is handed over on request."""
    lost_disk_every: int | None = None
    """A machine loses its disk with all that is on it; never a second one before the first is made good."""
    rot_every: int | None = None
    """Bytes change on one machine's disk, always the same one's; then no disk is lost."""
    full_disk_every: int | None = None
    full_disk_for: int = 2 * SECOND
    zone_cut_every: int | None = None
    """A zone is cut off, or all its machines lose their power."""
    strikes: float = 0.0
    """How often something happens to those who take part in a change of membership, just as it begins."""
    leap_at: int | None = None
    """The instant (not a mean) at which all wall clocks go on by LEAP at once, as after a long sleep."""


def draw(chance: Random) -> Rates:
    """A seed's faults."""

    def sometimes(share: float, low: float, high: float) -> int | None:
        """An interval between ``low`` and ``high`` seconds, for a share of the seeds."""
        return int(chance.uniform(low, high) * SECOND) if chance.random() < share else None

    unruly = chance.random() < 0.4
    drift = chance.choice((0, 100, 20_000))
    rots = chance.random() < 0.25
    honest_clocks = drift <= 100 and chance.random() < 0.6
    latency = chance.choice((200, 300, 1_000, 5_000))
    return Rates(
        latency=latency,
        jitter=chance.choice((100, 500, 3_000, 20_000)),
        loss=chance.choice((0.001, 0.02, 0.1)) if unruly else 0.0,
        duplication=chance.choice((0.0, 0.02, 0.1)) if unruly else 0.0,
        reordering=chance.choice((0.01, 0.1, 0.3)) if unruly else 0.0,
        kill_every=sometimes(0.5, 2, 8),
        power_loss_every=sometimes(0.6, 1.5, 8),
        all_down_every=sometimes(0.15, 8, 15),
        down_for=int(chance.choice((0.05, 0.5, 3, 6)) * SECOND),
        partition_every=sometimes(0.6, 2, 8),
        partition_for=int(chance.choice((0.3, 2, 5)) * SECOND),
        one_way=chance.choice((0.0, 0.5, 1.0)),
        pause_every=sometimes(0.25, 3, 8),
        pause_for=int(chance.choice((0.3, 1, 3)) * SECOND),
        sync_time=int(chance.choice((0.2, 1, 5, 20)) * MILLISECOND),
        slow_disk_every=sometimes(0.3, 3, 8),
        slow_disk_for=2 * SECOND,
        slow_disk_time=int(chance.choice((50, 200, 900)) * MILLISECOND),
        clock_jump_every=sometimes(0.4, 2, 6),
        clock_jump_max=10 * MINUTE if honest_clocks else chance.choice((200, 3_000)),
        honest_clocks=honest_clocks,
        drift=drift,
        reply_loss=chance.choice((0.0, 0.02, 0.1)),
        request_duplication=chance.choice((0.0, 0.05)),
        transfer_every=sometimes(0.2, 2, 5),
        lost_disk_every=None if rots else sometimes(0.35, 2, 6),
        rot_every=sometimes(1.0, 0.3, 3) if rots else None,
        full_disk_every=sometimes(0.2, 2, 6),
        zone_cut_every=sometimes(0.25, 3, 8),
        strikes=chance.choice((0.0, 0.0, 0.2, 0.6)),
        leap_at=sometimes(0.15, 3, 6),
    )


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
        self, world: World, rates: Rates, nodes: list[Victim], network: Lines, whole: Callable[[], bool]
    ) -> None:
        """``whole``: whether every group has all its replicas, with all that is committed."""
        self._world = world
        self._rates = rates
        self._nodes = nodes
        self._network = network
        self._chance = world.chance("faults")
        self._whole = whole
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
        self._world.counts[f"fault: {fault}"] += 1
        if self._chance.random() < 0.5:
            victim.crash(power_lost)
        else:
            victim.drive.cut_after(self._chance.randrange(0, 12), power_lost)

    def _all_down(self) -> None:
        self._world.counts["fault: all down"] += 1
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
        self._world.counts["fault: partition"] += 1
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
            self._world.counts["fault: zone down"] += 1
            for node in inside:
                if node.up:
                    node.crash(power_lost=True)
            return
        self._world.counts["fault: zone cut"] += 1
        outside = [node.name for node in self._nodes if node.name[0] != zone]
        pairs = [(node.name, other) for node in inside for other in outside]
        pairs += [(other, node) for node, other in pairs]
        for source, target in pairs:
            self._network.block(source, target)
        self._world.after(int(chance.expovariate(1.0) * self._rates.partition_for) + 1, self._mend, pairs)

    def strike(self, name: str) -> None:
        """``name`` is about to change the membership of a group that it leads."""
        chance = self._chance
        if self._healed or chance.random() >= self._rates.strikes:
            return
        (leader,) = [node for node in self._nodes if node.name == name]
        if chance.random() < 0.5:
            self._world.counts["fault: split at a change"] += 1
            self._split()
        else:
            self._world.counts["fault: crash at a change"] += 1
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
        """As soon as nothing is missing anywhere: at most one disk may be lost at a time."""
        if self._healed:
            return
        if self._whole():
            victim = self._victim() or self._chance.choice(self._nodes)
            self._world.counts["fault: lost disk"] += 1
            self._world.note(victim.name, "loses its disk")
            victim.lose_disk()
        elif tries:
            self._world.after(100 * MILLISECOND, self._lose_disk, tries - 1)

    def _rot(self) -> None:
        if self._rotten is None:
            self._rotten = self._chance.choice(self._nodes)
        self._rotten.drive.rot()

    def _fill_disk(self) -> None:
        victim = self._chance.choice(self._nodes)
        self._world.counts["fault: full disk"] += 1
        victim.drive.fill(self._chance.choice((0, 1_000, 20_000)))
        self._world.after(self._rates.full_disk_for, victim.drive.make_room)

    def _pause(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._world.counts["fault: pause"] += 1
            victim.pause(int(self._chance.expovariate(1.0) * self._rates.pause_for))

    def _slow_disk(self) -> None:
        victim = self._chance.choice(self._nodes)
        self._world.counts["fault: slow disk"] += 1
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
        self._world.counts["clock jump"] += 1
        victim.clock.jump(self._chance.randint(-self._rates.clock_jump_max, self._rates.clock_jump_max))

    def _leap(self) -> None:
        if not self._healed:
            self._world.counts["clock leap"] += 1
            self._world.note("all clocks leap", LEAP)
            for node in self._nodes:
                node.clock.leap(LEAP)

    def _hand_over(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._world.counts["fault: hand over"] += 1
            victim.hand_over(self._chance)

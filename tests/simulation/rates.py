"""How often what goes wrong: drawn from the seed.

Not every seed has every fault: a run in which everything fails all the time explores less than many runs that each fail
in their own way.
"""

from __future__ import annotations

from random import Random

import msgspec

from tests.simulation.world import MILLISECOND, SECOND

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
    rot_late: float = 0.0
    """Share of the rot that hits what was written last."""
    full_disk_every: int | None = None
    full_disk_for: int = 2 * SECOND
    zone_cut_every: int | None = None
    """A zone is cut off, or all its machines lose their power."""
    strikes: float = 0.0
    """How often something happens to those who take part in a change of membership, just as it begins."""
    strikes_late: float = 0.5
    """Share of those that come soon after instead."""
    splits: float = 0.5
    """Share of those that part the cluster in two; the others crash the leader."""
    lost_forming: float = 0.0
    """How often, at a look of the healer, one of those who have a replica of a group that is being formed loses its
    disk, if no other is lost."""
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
        rot_late=chance.choice((0.0, 0.0, 0.5)) if rots else 0.0,
        lost_forming=0.0 if rots else chance.choice((0.0, 0.5)),
    )

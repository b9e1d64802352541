"""Bugs of clocks, memberships and lost disks, planted: the seeds must find each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from broker.base.ids import NodeId
from broker.raft import quorum
from broker.raft.types import Membership
from broker.replication.cluster_clock import ClusterClock
from tests.simulation.load import Load
from tests.simulation.node import SimulatedNode
from tests.simulation.planting import PARTITIONS, findings
from tests.simulation.rates import MINUTE, Rates
from tests.simulation.test_planted_bugs import (
    NONSENSE,
    SAFETY,
    accept_torn_writes,
    answer_reads_without_asking_anyone,
)
from tests.simulation.world import MILLISECOND, SECOND

JUMPS = Rates(clock_jump_every=1 * SECOND, clock_jump_max=10 * MINUTE, honest_clocks=True, transfer_every=1 * SECOND)
LOSSES = Rates(
    lost_disk_every=1 * SECOND,
    power_loss_every=1_500 * MILLISECOND,
    partition_every=1_500 * MILLISECOND,
    partition_for=1 * SECOND,
    down_for=200 * MILLISECOND,
    sync_time=10 * MILLISECOND,
)
ROT = Rates(rot_every=100 * MILLISECOND, kill_every=2 * SECOND, down_for=200 * MILLISECOND)
MOVES = Rates(partition_for=3 * SECOND, strikes=0.5, strikes_late=0.0, splits=1.0)


def trust_the_clock_of_the_leader(patch: pytest.MonkeyPatch) -> None:
    def review(self: ClusterClock, now: Any) -> None:
        self._offset = self._own = self._clock.wall() - now

    patch.setattr(ClusterClock, "_review", review)


def vote_with_amnesia(patch: pytest.MonkeyPatch) -> None:
    """A founder that finds its disk empty founds its groups anew."""
    lose_disk = SimulatedNode.lose_disk

    def lose(self: SimulatedNode) -> None:
        lose_disk(self)
        self._founds = self._cluster.layout.founded_by(self.name)

    patch.setattr(SimulatedNode, "lose_disk", lose)


def count_learners(patch: pytest.MonkeyPatch) -> None:
    reached = quorum.reached

    def everybody(membership: Membership, values: dict[NodeId, int]) -> int:
        """One of all of them is enough."""
        voters = {*membership.voters, *membership.learners}
        if not membership.learners:
            return reached(membership, values)
        return sorted((values.get(node, 0) for node in voters), reverse=True)[len(voters) // 2 - 1]

    patch.setattr(quorum, "reached", everybody)


def skip_the_old_half(patch: pytest.MonkeyPatch) -> None:
    reached, verdict = quorum.reached, quorum.verdict

    def new_half(membership: Membership) -> Membership:
        return msgspec.structs.replace(membership, outgoing=())

    patch.setattr(quorum, "reached", lambda membership, values: reached(new_half(membership), values))
    patch.setattr(quorum, "verdict", lambda membership, votes: verdict(new_half(membership), votes))


SIX = ("a-0", "a-1", "b-0", "b-1", "c-0", "c-1")
THREE = ("a-0", "b-0", "c-0")
NAMES = Load(queues=1, producers=1, consumers=1, counters=0, registrars=6, think=100 * MILLISECOND)
BUSY = Load(producers=4, think=100 * MILLISECOND, moving=True)

BUGS = [
    (trust_the_clock_of_the_leader, JUMPS, BUSY, SIX, {"log time keeps to the clocks"}),
    (vote_with_amnesia, LOSSES, None, THREE, SAFETY | NONSENSE),
    (count_learners, MOVES, BUSY, SIX, SAFETY),
    (skip_the_old_half, MOVES, BUSY, SIX, SAFETY),
    (accept_torn_writes, ROT, None, THREE, SAFETY | NONSENSE),
    (answer_reads_without_asking_anyone, PARTITIONS, NAMES, THREE, {"the directory is linearizable"}),
]


@pytest.mark.parametrize(("bug", "rates", "load", "nodes", "checkers"), BUGS, ids=[bug[0].__name__ for bug in BUGS])
def test_a_planted_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None],
    rates: Rates,
    load: Load | None,
    nodes: tuple[str, ...],
    checkers: set[str],
    monkeypatch: pytest.MonkeyPatch,
):
    bug(monkeypatch)
    assert findings(rates, checkers, load, nodes) & checkers

"""Random runs of a small cluster. A failing seed is the whole reproduction: ``Chaos(seed)`` and as many steps."""

from __future__ import annotations

import msgspec
import pytest

from broker.raft.types import Role
from tests.properties.raft.chaos import CONFIG, NERVOUS, Chaos

_STEPS = 1500


def _run(chaos: Chaos) -> None:
    for number in range(_STEPS):
        chaos.step()
        if number % 100 == 0:
            chaos.check_logs()
    chaos.settle()
    chaos.check_logs()


@pytest.mark.parametrize("seed", range(120))
def test_nothing_committed_is_lost_or_contradicted(seed: int) -> None:
    chaos = Chaos(seed, NERVOUS if seed % 2 else CONFIG)
    _run(chaos)
    _everyone_agrees(chaos)


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_lease_reads_are_not_stale_while_clocks_agree(seed: int) -> None:
    chaos = Chaos(seed, msgspec.structs.replace(CONFIG, lease_reads=True))
    _run(chaos)
    assert chaos.reads


def _everyone_agrees(chaos: Chaos) -> None:
    leaders = [replica for replica in chaos.replicas.values() if replica.group.role is Role.LEADER]
    assert len(leaders) == 1, f"after the faults ended these lead: {[leader.name for leader in leaders]}"
    leader = leaders[0]
    assert leader.applied >= max(chaos.committed, default=0)
    for name in leader.group.progress():
        assert chaos.replicas[name].content == leader.content, f"{name} differs from {leader.name}"

"""How planted bugs are hunted: under which faults and which load, over how many seeds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tests.simulation.load import Load
from tests.simulation.rates import Rates
from tests.simulation.run import Plan, run_seed
from tests.simulation.world import MILLISECOND, SECOND

MAX_SEEDS = 60
DURATION = 12 * SECOND

CRASHES = Rates(
    power_loss_every=1 * SECOND, all_down_every=4 * SECOND, down_for=200 * MILLISECOND, sync_time=10 * MILLISECOND
)
ROT = msgspec.structs.replace(
    CRASHES, all_down_every=1 * SECOND, sync_time=1 * MILLISECOND, rot_every=1 * SECOND, rot_late=0.9
)
PARTITIONS = Rates(partition_every=2 * SECOND, partition_for=3 * SECOND, one_way=0.3)
TURMOIL = Rates(
    partition_every=1 * SECOND,
    partition_for=1_500 * MILLISECOND,
    one_way=0.3,
    power_loss_every=1_500 * MILLISECOND,
    kill_every=2 * SECOND,
    down_for=100 * MILLISECOND,
    sync_time=10 * MILLISECOND,
)
CALM = Rates(reply_loss=0.1, request_duplication=0.1)


def under(rates: Rates, load: Load | None = None, nodes: tuple[str, ...] = ()) -> Callable[[Plan], Plan]:
    """``load`` and ``nodes`` not given: as each seed draws them."""

    def adjusted(plan: Plan) -> Plan:
        return msgspec.structs.replace(plan, rates=rates, load=load or plan.load, nodes=nodes or plan.nodes)

    return adjusted


def findings(rates: Rates, wanted: set[str], load: Load | None = None, nodes: tuple[str, ...] = ()) -> set[str]:
    """The checkers that broken seeds broke, up to the first wanted one."""
    found: set[str] = set()
    for seed in range(MAX_SEEDS):
        outcome = run_seed(seed, DURATION, adjust=under(rates, load, nodes))
        if outcome.checker:
            found.add(outcome.checker)
        if outcome.checker in wanted:
            break
    return found

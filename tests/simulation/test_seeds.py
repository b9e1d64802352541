"""A few hundred short seeds. ``make sim SEEDS=...`` runs as many as one likes."""

from collections import Counter

import pytest

from tests.simulation import coverage
from tests.simulation.run import Outcome, run_seed
from tests.simulation.world import SECOND

SEEDS_PER_CHUNK = 20
CHUNKS = 10
DURATION = 8 * SECOND


def told(outcome: Outcome) -> str:
    command = f"python -m tests.simulation --seconds {DURATION // SECOND} --seed {outcome.seed} --trace"
    return f"seed {outcome.seed} broke: {outcome.checker}\n{outcome.story}\n{command}"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_is_kept(chunk: int):
    first = chunk * SEEDS_PER_CHUNK
    for seed in range(first, first + SEEDS_PER_CHUNK):
        outcome = run_seed(seed, DURATION)
        assert not outcome.checker, told(outcome)


def test_the_seeds_reach_what_they_are_meant_to_reach():
    counts: Counter[str] = Counter()
    for seed in range(1_000, 1_100):
        counts.update(run_seed(seed, DURATION).counts)
        if not coverage.missing(counts):
            return
    assert coverage.missing(counts) == []

"""When to try again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.errors import OverLimit, Overloaded, QueueNotFound, Unavailable
from broker.client.retrying import Backoff, Retry


class Extreme:
    """Chance that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b

    def randbytes(self, n: int) -> bytes:
        return bytes(n)


def test_bounds_double_up_to_the_ceiling() -> None:
    # given a schedule whose chance draws the largest pauses
    retry = Retry(Backoff(first=0.1, ceiling=0.5), Extreme(), deadline=100.0)

    # when five attempts fail
    pauses = [retry.after(Unavailable("down"), now=0.0) for _ in range(5)]

    # then
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])


@given(seed=st.integers(), attempt=st.integers(0, 2_000))
def test_jitter_is_full(seed: int, attempt: int) -> None:
    backoff = Backoff(first=0.1, ceiling=0.5)
    assert 0.0 <= backoff.pause(attempt, Random(seed)) <= min(0.5, 0.1 * 2 ** min(attempt, 10))


def test_whoever_was_told_that_there_is_too_much_to_do_stays_away_for_longer() -> None:
    retry = Retry(Backoff(first=0.1, ceiling=0.5), Extreme(), deadline=100.0)
    pauses = [retry.after(Overloaded("too much"), now=0.0) for _ in range(6)]
    assert pauses == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 4.0])


def test_progress_starts_the_schedule_again() -> None:
    # given two failures
    retry = Retry(Backoff(first=0.1, ceiling=10.0), Extreme(), deadline=100.0)
    retry.after(Unavailable("down"), 0.0)
    retry.after(Unavailable("down"), 0.0)

    # when an attempt succeeds in between
    retry.succeeded()

    # then the next pause is a first one
    assert retry.after(Unavailable("down"), 0.0) == pytest.approx(0.1)


def test_gives_up_when_the_pause_would_end_after_the_deadline() -> None:
    retry = Retry(Backoff(first=0.1, ceiling=0.1), Extreme(), deadline=1.0)
    assert retry.after(Unavailable("down"), now=0.85) == pytest.approx(0.1)
    assert retry.after(Unavailable("down"), now=0.95) is None


@pytest.mark.parametrize("error", [QueueNotFound("no such queue"), OverLimit("delete some first")])
def test_what_the_caller_must_change_is_not_retried(error: QueueNotFound | OverLimit) -> None:
    retry = Retry(Backoff(), Extreme(), deadline=100.0)
    assert retry.after(error, now=0.0) is None

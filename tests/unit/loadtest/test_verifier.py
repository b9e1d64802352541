"""The verifier: each kind of anomaly is counted as itself and nothing else."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from loadtest.verifier import Verdict, Verifier


def _sent(*sequences: int) -> Verifier:
    verifier = Verifier(producers=1)
    for sequence in sequences:
        verifier.sent(0, sequence)
    return verifier


def _anomalies(verdict: Verdict) -> dict[str, int]:
    names = ("failed", "lost", "duplicated", "reordered", "unconfirmed")
    return {name: getattr(verdict, name) for name in names if getattr(verdict, name)}


def test_what_is_confirmed_and_received_in_order_is_in_order() -> None:
    verifier = _sent(0, 1, 2)
    for sequence in range(3):
        verifier.confirmed(0, sequence)
        verifier.received(0, sequence)
    verdict = verifier.verdict()
    assert (verdict.sent, verdict.confirmed, verdict.received) == (3, 3, 3)
    assert _anomalies(verdict) == {}
    assert verifier.outstanding == 0


def test_confirmed_but_never_received_is_lost() -> None:
    verifier = _sent(0, 1)
    verifier.confirmed(0, 0)
    verifier.confirmed(0, 1)
    verifier.received(0, 0)
    verdict = verifier.verdict()
    assert _anomalies(verdict) == {"lost": 1}
    assert verdict.lost_examples == ((0, 1),)
    assert verifier.outstanding == 1


def test_received_before_its_confirmation_is_nothing_special() -> None:
    verifier = _sent(0)
    verifier.received(0, 0)
    verifier.confirmed(0, 0)
    assert _anomalies(verifier.verdict()) == {}
    assert verifier.outstanding == 0


def test_received_again_is_duplicated_once_for_each_time() -> None:
    verifier = _sent(0)
    verifier.confirmed(0, 0)
    assert [verifier.received(0, 0) for _ in range(3)] == [True, False, False]
    assert _anomalies(verifier.verdict()) == {"duplicated": 2}


def test_received_behind_a_later_one_is_reordered() -> None:
    verifier = _sent(0, 1, 2)
    for sequence in (1, 0, 2):
        verifier.confirmed(0, sequence)
        verifier.received(0, sequence)
    assert _anomalies(verifier.verdict()) == {"reordered": 1}


def test_a_late_duplicate_is_not_reordered() -> None:
    verifier = _sent(0, 1)
    for sequence in (0, 1, 0):
        verifier.confirmed(0, sequence)
        verifier.received(0, sequence)
    assert _anomalies(verifier.verdict()) == {"duplicated": 1}


def test_failed_and_never_received_is_not_lost() -> None:
    verifier = _sent(0)
    verifier.failed(0)
    assert _anomalies(verifier.verdict()) == {"failed": 1}


def test_failed_and_received_all_the_same_is_unconfirmed() -> None:
    verifier = _sent(0)
    verifier.failed(0)
    verifier.received(0, 0)
    assert _anomalies(verifier.verdict()) == {"failed": 1, "unconfirmed": 1}


def test_producers_are_kept_apart() -> None:
    verifier = Verifier(producers=2)
    for producer in (0, 1):
        verifier.sent(producer, 0)
        verifier.confirmed(producer, 0)
    verifier.received(1, 0)
    assert verifier.verdict().lost_examples == ((0, 0),)


@given(st.lists(st.tuples(st.sampled_from(["confirmed", "received"]), st.integers(0, 20)), max_size=200))
def test_counts_agree_with_sets(events: list[tuple[str, int]]) -> None:
    # given any history of 21 messages
    verifier = _sent(*range(21))
    for what, sequence in events:
        if what == "confirmed":
            verifier.confirmed(0, sequence)
        else:
            verifier.received(0, sequence)

    # when it is judged
    verdict = verifier.verdict()

    # then the counts are those of the plain sets
    confirmed = {sequence for what, sequence in events if what == "confirmed"}
    received = [sequence for what, sequence in events if what == "received"]
    assert verdict.lost == verifier.outstanding == len(confirmed - set(received))
    assert verdict.duplicated == len(received) - len(set(received))
    assert verdict.unconfirmed == len(set(received) - confirmed)
    assert msgspec.structs.asdict(verdict)["sent"] == 21

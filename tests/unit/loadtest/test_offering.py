from array import array

from loadtest.offering import Outcome


def test_outcomes_of_several_processes_are_added() -> None:
    total = Outcome()
    due, made = array("q", [1_000, 2_000, 3_000]), array("q", [900, 1_900, 2_900])
    total.add(Outcome(5, 3, 1, 1, 0, due, made, array("q", [9]), {"late": 1}))
    total.add(Outcome(2, 1, 1, 0, 2, array("q", [4_000]), array("q", [3_900]), array("q", [5]), {"late": 2, "full": 1}))
    assert (total.offered, total.accepted, total.refused, total.unknown, total.not_made) == (7, 4, 2, 1, 2)
    assert list(total.since_made) == [900, 1_900, 2_900, 3_900]
    assert total.reasons == {"late": 3, "full": 1}
    assert max(total.refused_at) == 9
    p50, p99 = total.percentiles_ms()
    assert 1.9 < p50 < 2.1
    assert 3.9 < p99 < 4.1


def test_nothing_accepted_has_no_latency() -> None:
    assert Outcome().percentiles_ms() == (0, 0)

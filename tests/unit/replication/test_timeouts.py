from broker.base.instants import Millis
from broker.replication.timeouts import Timeouts


def test_nothing_is_due_without_time_outs():
    timeouts = Timeouts()
    assert timeouts.next_deadline() is None
    assert timeouts.wake(Millis(1_000_000)) == []


def test_a_time_out_is_never_early_and_at_most_a_bucket_late():
    for deadline in (1, 49, 50, 51, 99, 100, 12_345):
        timeouts = Timeouts()
        timeouts.add(1, Millis(deadline))
        due = timeouts.next_deadline()
        assert due is not None
        assert deadline <= due < deadline + 50
        assert timeouts.wake(Millis(deadline - 1)) == []
        assert timeouts.wake(due) == [1]
        assert timeouts.next_deadline() is None


def test_what_is_due_comes_oldest_first():
    timeouts = Timeouts()
    for token, deadline in ((1, 900), (2, 100), (3, 500), (4, 100)):
        timeouts.add(token, Millis(deadline))
    assert timeouts.wake(Millis(600)) == [2, 4, 3]
    assert timeouts.wake(Millis(900)) == [1]


def test_what_was_served_long_ago_can_be_forgotten():
    timeouts = Timeouts()
    for token in range(1_000):
        timeouts.add(token, Millis(10_000_000 + token))
    timeouts.keep({7, 950})
    assert len(timeouts) == 2
    assert timeouts.wake(Millis(10_000_500)) == [7]
    assert timeouts.wake(Millis(10_001_000)) == [950]
    assert (len(timeouts), timeouts.next_deadline()) == (0, None)

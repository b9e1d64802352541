"""What a history says about promises: each is found broken when it is, and only then."""

from __future__ import annotations

from broker.base.errors import DeadlineExceeded, InvalidArgument
from loadtest.faults.history import History
from loadtest.faults.verdict import BEGUN, STOPPED, Terms, Verdict, judge, longest_gap
from tests.unit.loadtest.faults.histories import Told

VISIBILITY = 5.0


def verdict_of(
    history: History, *, fifo: bool = False, drained: bool = True, moves: bool = False, delay: float = 0.0
) -> Verdict:
    return judge(history, Terms(VISIBILITY, delay, fifo, moves), drained=drained)


def test_what_is_sent_received_and_deleted_keeps_every_promise() -> None:
    told = Told()
    for number in range(3):
        told.at(number).send((0, number), number)
        told.at(number + 0.1).deliver((0, number), numbers=True)
        told.at(number + 0.2).delete((0, number))
    found = verdict_of(told, fifo=True)
    assert found.kept
    assert (found.sent, found.acknowledged, found.received, found.deleted, found.again) == (3, 3, 3, 3, 0)


def test_an_acknowledged_message_that_never_came_is_lost_if_the_queue_is_empty() -> None:
    told = Told()
    told.send((0, 0))
    found = verdict_of(told)
    assert (found.lost, found.missing, found.kept) == (1, 0, False)
    assert found.examples == ("lost: message 0 of sender 0",)


def test_it_is_missing_if_the_queue_could_not_be_asked_to_the_end() -> None:
    told = Told()
    told.send((0, 0))
    found = verdict_of(told, drained=False)
    assert (found.lost, found.missing, found.kept) == (0, 1, False)


def test_a_message_of_unknown_fate_may_come_or_not() -> None:
    told = Told()
    told.not_acknowledged((0, 0), DeadlineExceeded("late"))
    told.not_acknowledged((0, 1), DeadlineExceeded("late"))
    told.not_acknowledged((0, 2), InvalidArgument("bad"))
    told.deliver((0, 1))
    found = verdict_of(told)
    assert found.kept
    assert found.unsure == 2
    assert found.errors == {"send: DeadlineExceeded": 2, "send: InvalidArgument": 1}


def test_one_send_that_is_two_messages_was_stored_twice() -> None:
    told = Told()
    told.send((0, 0), identity="first")
    told.deliver((0, 0), identity="second")
    assert verdict_of(told).stored_twice == 1
    # but where messages move, each queue gives them an id of its own
    assert verdict_of(told, moves=True).kept


def test_a_delivery_that_was_asked_for_after_the_delete_was_confirmed_came_back() -> None:
    told = Told()
    told.send((0, 0))
    told.at(1.0).deliver((0, 0))
    told.at(2.0).delete((0, 0))
    told.at(9.0).deliver((0, 0), asked=2.5)
    assert verdict_of(told).back == 1


def test_one_that_was_asked_for_before_may_have_been_on_its_way() -> None:
    told = Told()
    told.send((0, 0))
    told.at(1.0).deliver((0, 0))
    told.at(9.0).delete((0, 0))
    told.at(9.1).deliver((0, 0), asked=8.0)
    found = verdict_of(told)
    assert (found.back, found.again, found.kept) == (0, 1, True)


def test_a_message_that_somebody_holds_is_not_delivered() -> None:
    told = Told()
    told.send((0, 0))
    told.at(1.0).deliver((0, 0))
    told.at(1.0 + VISIBILITY - 0.1).deliver((0, 0))
    assert verdict_of(told).early == 1


def test_when_its_time_is_over_it_is() -> None:
    told = Told()
    told.send((0, 0))
    told.at(1.0).deliver((0, 0))
    told.at(1.0 + VISIBILITY).deliver((0, 0))
    assert verdict_of(told).kept


def test_an_answer_that_was_long_on_its_way_may_tell_of_an_earlier_delivery() -> None:
    told = Told()
    told.send((0, 0))
    told.at(1.5 + VISIBILITY).deliver((0, 0), asked=1.4 + VISIBILITY)
    told.at(5.0 + VISIBILITY).deliver((0, 0), asked=1.0)
    assert verdict_of(told).kept
    told.at(5.1 + VISIBILITY).deliver((0, 0), asked=5.0 + VISIBILITY)
    assert verdict_of(told).early == 1, "the first answer was not long on its way"


def test_one_that_was_given_back_is_at_once() -> None:
    told = Told()
    told.send((0, 0))
    told.at(1.0).deliver((0, 0))
    told.at(1.1).giving_back((0, 0))
    told.at(1.2).deliver((0, 0))
    assert verdict_of(told).kept


def test_a_delayed_message_does_not_come_before_its_time() -> None:
    told = Told()
    told.at(1.0).send((0, 0))
    told.at(1.0).send((0, 1))
    told.at(2.9).deliver((0, 0))
    told.at(3.0).deliver((0, 1))
    assert verdict_of(told, delay=2.0).early == 1
    assert verdict_of(told).early == 0


def test_a_later_message_of_a_group_does_not_overtake_one_that_waits() -> None:
    told = Told()
    told.send((0, 0), 0)
    told.send((0, 1), 1)
    told.at(1.0).deliver((0, 1), numbers=True)
    told.at(2.0).deliver((0, 0), numbers=True)
    assert verdict_of(told, fifo=True).out_of_order == 1


def test_nor_one_that_somebody_holds() -> None:
    told = Told()
    told.send((0, 0), 0)
    told.send((0, 1), 1)
    told.at(1.0).deliver((0, 0), numbers=True)
    told.at(2.0).deliver((0, 1), numbers=True)
    told.at(3.0).delete((0, 0), (0, 1))
    assert verdict_of(told, fifo=True).out_of_order == 1


def test_nor_one_that_is_lost() -> None:
    told = Told()
    told.send((0, 0), 0)
    told.send((0, 1), 1)
    told.at(1.0).deliver((0, 1), numbers=True)
    told.at(2.0).delete((0, 1))
    found = verdict_of(told, fifo=True)
    assert (found.lost, found.out_of_order) == (1, 1)


def test_messages_of_a_group_may_come_together_and_other_groups_do_not_wait() -> None:
    told = Told()
    for sender in (0, 1):
        for number in (0, 1):
            told.send((sender, number), number)
    told.at(1.0).deliver((0, 0), (0, 1), numbers=True)
    told.at(2.0).deliver((1, 0), numbers=True)
    told.at(3.0).delete((0, 0), (0, 1), (1, 0))
    told.at(4.0).deliver((1, 1), numbers=True)
    told.at(5.0).delete((1, 1))
    assert verdict_of(told, fifo=True).kept


def test_what_comes_again_comes_with_or_before_what_follows_it() -> None:
    # given two messages that come together and are not deleted in time
    told = Told()
    told.send((0, 0), 0)
    told.send((0, 1), 1)
    told.at(1.0).deliver((0, 0), (0, 1), numbers=True)
    # when they come one after the other
    told.at(8.0).deliver((0, 0), numbers=True)
    told.at(8.1).delete((0, 0))
    told.at(8.2).deliver((0, 1), numbers=True)
    told.at(8.3).delete((0, 1))
    # then that is in order
    found = verdict_of(told, fifo=True)
    assert (found.kept, found.again) == (True, 2)


def test_messages_of_one_sender_are_stored_in_the_order_of_its_calls() -> None:
    told = Told()
    told.send((0, 0), 7)
    told.send((0, 1), 5)
    told.deliver((0, 1))
    told.deliver((0, 0))
    assert verdict_of(told, fifo=True).out_of_order == 1
    assert verdict_of(told).out_of_order == 0


def test_a_gap_counts_from_the_fault_to_the_end_of_sending() -> None:
    told = Told()
    for at in (0.0, 5.0, 5.5, 8.0, 8.5):
        told.at(at).send((0, int(at * 10)))
    told.at(5.0).mark(BEGUN)
    told.at(9.0).mark(STOPPED)
    assert verdict_of(told, drained=False).send_gap == 2.5


def test_silence_to_the_end_is_a_gap_too() -> None:
    assert longest_gap([1.0, 2.0], 1.0, 10.0) == 8.0
    assert longest_gap([], 1.0, 10.0) == 9.0
    assert longest_gap([1.0, 2.0, 4.0], 0.5) == 2.0


def test_of_many_that_are_asked_the_longest_silent_counts() -> None:
    told = Told()
    told.mark(BEGUN)
    for at in range(10):
        told.at(at).answered("one")
        if at in (0, 9):
            told.answered("other")
    told.mark(STOPPED)
    assert verdict_of(told).send_gap == 9.0

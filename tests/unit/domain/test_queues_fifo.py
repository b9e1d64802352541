"""FIFO queues: the order of a message group, what blocks it, what is stored once, and what can be asked for again."""

from __future__ import annotations

import pytest

from broker.base.ids import QueueId
from broker.base.instants import MINUTE, SECOND, Millis
from broker.domain.queues import commands
from broker.domain.queues.commands import Sent
from broker.domain.queues.model import PER_MESSAGE_GROUP, QueueAttributes
from broker.domain.queues.questions import HasVisible, KnowsAttempt
from tests.unit.domain.queue_log import CONTENT, QUEUE, QueueLog, handle_of, places, refusal_of


def fifo(**attributes: object) -> QueueLog:
    return QueueLog(QueueAttributes(**attributes), name="orders.fifo")  # type: ignore[arg-type]


def test_messages_of_a_group_come_in_the_order_in_which_they_were_sent() -> None:
    log = fifo()
    log.send_to_groups("abab", "1234")
    assert places(log.deliver()) == [("a", 2, 0), ("a", 2, 2), ("b", 2, 1), ("b", 2, 3)]


def test_a_group_with_a_message_in_flight_is_blocked_and_others_go_on() -> None:
    log = fifo()
    log.send_to_groups("aab", "123")
    first = log.deliver(1)
    assert places(first) == [("a", 2, 0)]
    assert places(log.deliver()) == [("b", 2, 2)]
    assert not log.deliver()
    log.delete(handle_of(first[0]))
    assert places(log.deliver()) == [("a", 2, 1)]


def test_a_group_stays_blocked_until_everything_it_handed_out_is_settled() -> None:
    log = fifo()
    log.send_to_groups("aaa", "123")
    one, two = log.deliver(2)
    log.delete(handle_of(one))
    assert not log.deliver()
    log.delete(handle_of(two))
    assert places(log.deliver()) == [("a", 2, 2)]


def test_what_comes_back_comes_before_what_follows_it() -> None:
    log = fifo()
    log.send_to_groups("aa", "12")
    log.deliver(1, timeout=SECOND)
    log.at += SECOND
    again = log.deliver()
    assert places(again) == [("a", 2, 0), ("a", 2, 1)]
    assert [each.receive_count for each in again] == [2, 1]


def test_the_end_of_a_block_wakes_one_who_waits() -> None:
    log = fifo()
    log.send_to_groups("aa", "12")
    delivery = log.deliver(1)[0]
    log.delete(handle_of(delivery))
    assert [effect.count for effect in log.effects] == [1]


def test_nothing_is_visible_in_a_queue_whose_groups_are_blocked() -> None:
    log = fifo()
    log.send_to_groups("aa", "12")
    log.deliver(1)
    assert not log.query(HasVisible(QUEUE))
    assert log.where() == (1, 1, 0)


# --- deduplication


def test_a_second_send_under_an_id_is_told_the_first_and_stores_nothing() -> None:
    log = fifo()
    first = log.send_to_groups("a", "1")
    second = log.send_to_groups("aa", "21")
    assert isinstance(first, Sent)
    assert second.duplicates == ((1, 2 << 16),)
    counts = log.counts()
    assert (counts.visible, counts.sent_total, counts.duplicates_total) == (2, 2, 1)


def test_within_one_batch_the_second_of_an_id_is_a_duplicate() -> None:
    log = fifo()
    assert log.send_to_groups("aa", "11").duplicates == ((1, 2 << 16),)


def test_an_id_is_remembered_for_five_minutes_and_not_longer() -> None:
    log = fifo()
    log.send_to_groups("a", "1")
    log.at += 5 * MINUTE - 1
    assert log.send_to_groups("a", "1").duplicates
    log.at += 1
    assert not log.send_to_groups("a", "1").duplicates


def test_a_deleted_or_purged_message_is_still_a_duplicate() -> None:
    log = fifo()
    log.send_to_groups("a", "1")
    log.delete(handle_of(log.deliver()[0]))
    assert log.send_to_groups("a", "1").duplicates
    log.apply(commands.PurgeQueue(QUEUE))
    assert log.send_to_groups("a", "1").duplicates


def test_what_is_remembered_survives_a_dump() -> None:
    log = fifo()
    log.send_to_groups("a", "1")
    log.reload()
    assert log.send_to_groups("a", "1").duplicates == ((0, 2 << 16),)


@pytest.mark.parametrize(("scope", "duplicate"), [("queue", True), (PER_MESSAGE_GROUP, False)])
def test_the_scope_is_the_queue_or_the_group(scope: str, duplicate: bool) -> None:
    log = fifo(deduplication_scope=scope)
    log.send_to_groups("a", "1")
    assert bool(log.send_to_groups("b", "1").duplicates) is duplicate
    assert log.send_to_groups("a", "1").duplicates


# --- receive attempts


def test_an_attempt_asked_for_again_gets_the_same_messages_held_anew() -> None:
    log = fifo()
    log.send_to_groups("ab", "12")
    first = log.deliver(attempt="try")
    log.at += 20 * SECOND
    assert log.deliver(attempt="try") == first
    log.at += 20 * SECOND
    assert log.where() == (0, 2, 0)
    assert log.query(KnowsAttempt(QUEUE, "try"))


@pytest.mark.parametrize("change", ["delete", "extend", "time out", "wait six minutes"])
def test_an_attempt_whose_messages_were_touched_is_a_new_receive(change: str) -> None:
    log = fifo(visibility_timeout=Millis(10 * MINUTE))
    log.send_to_groups("ab", "12")
    first = log.deliver(attempt="try")
    if change == "delete":
        log.delete(handle_of(first[0]))
    elif change == "extend":
        log.change_visibility([handle_of(first[0])], 60 * SECOND)
    else:
        log.at += 11 * MINUTE if change == "time out" else 6 * MINUTE
    assert not log.query(KnowsAttempt(QUEUE, "try"))
    again = log.deliver(attempt="try")
    assert not {each.receipt for each in again} & {each.receipt for each in first}


def test_an_attempt_survives_a_dump() -> None:
    log = fifo()
    log.send_to_groups("a", "1")
    first = log.deliver(attempt="try")
    log.reload()
    assert log.deliver(attempt="try") == first


# --- delay, retention, lifetimes


def test_the_delay_is_the_queues_and_a_change_counts_for_what_is_delayed() -> None:
    log = fifo(delay=Millis(60 * SECOND))
    log.send_to_groups("aa", "12")
    assert log.where() == (0, 0, 2)
    log.at += 10 * SECOND
    log.apply(commands.UpdateQueue(QUEUE, QueueAttributes(delay=Millis(10 * SECOND))))
    assert log.where() == (2, 0, 0)
    assert [effect.count for effect in log.effects] == [1]
    assert len(log.deliver()) == 2


def test_the_end_of_a_delay_wakes_nobody_for_a_group_that_was_ready_before() -> None:
    log = fifo(delay=Millis(SECOND), visibility_timeout=Millis(500))
    log.send_to_groups("a", "1")
    log.at += SECOND
    log.deliver()
    log.send_to_groups("a", "2")
    log.at += 500
    log.send_to_groups("b", "3")
    assert [effect.count for effect in log.effects] == [1]
    log.at += 500
    log.apply(commands.ChangeVisibility(QUEUE, (), ()))
    assert log.effects == ()


def test_a_late_delete_lets_what_is_delayed_behind_it_come() -> None:
    log = fifo(visibility_timeout=Millis(SECOND))
    log.send_to_groups("a", "1")
    delivery = log.deliver()[0]
    log.at += SECOND
    log.apply(commands.UpdateQueue(QUEUE, QueueAttributes(delay=Millis(SECOND))))
    log.send_to_groups("a", "2")
    log.delete(handle_of(delivery))
    log.at += SECOND
    assert [each.index for each in log.deliver()] == [5]


def test_a_group_goes_on_when_its_message_in_flight_expires() -> None:
    log = fifo(retention=Millis(60 * SECOND), visibility_timeout=Millis(10 * MINUTE))
    log.send_to_groups("a", "1")
    log.deliver()
    log.at += 30 * SECOND
    log.send_to_groups("a", "2")
    log.at += 30 * SECOND
    assert [each.index for each in log.deliver()] == [4]
    assert log.counts().expired_total == 1


def test_a_lifetime_of_its_own_ends_a_delayed_message_too() -> None:
    log = fifo(delay=Millis(600 * SECOND))
    send = commands.Send(QUEUE, 2, 1, None, CONTENT, ("a", "a"), ("1", "2"), None, (0, 2 * SECOND))
    log.apply(send)
    log.at += 2 * SECOND
    log.reload()
    log.apply(commands.Receive(QUEUE, 1))
    assert log.where() == (0, 0, 1)
    assert log.counts().expired_total == 1


# --- what is refused, and changes nothing


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (commands.Send(QUEUE, 1, 1, None, CONTENT, None, ("1",)), "MessageGroupRequired"),
        (commands.Send(QUEUE, 1, 1, None, CONTENT, ("",), ("1",)), "MessageGroupRequired"),
        (commands.Send(QUEUE, 1, 1, None, CONTENT, ("a",)), "DeduplicationIdRequired"),
        (commands.Send(QUEUE, 1, 1, (5,), CONTENT, ("a",), ("1",)), "NotForFifo"),
        (commands.Send(QUEUE, 1, 1, None, CONTENT, ("a",), ("1",), (5,)), "NotForFifo"),
        (commands.Send(QUEUE, 2, 1, None, CONTENT, ("a",), ("1", "2")), "InvalidArgument"),
    ],
)
def test_a_send_that_is_none_for_a_fifo_queue_is_refused(send: commands.Send, code: str) -> None:
    log = fifo()
    assert refusal_of(log.apply(send)) == code
    assert log.where() == (0, 0, 0)
    assert not log.send_to_groups("a", "1").duplicates


def test_messages_of_a_fifo_queue_have_no_schedule_to_cancel() -> None:
    assert refusal_of(fifo().apply(commands.Cancel(QUEUE, ((1, 0),)))) == "NotForFifo"


def test_deduplication_is_for_fifo_queues_alone() -> None:
    log = QueueLog()
    reply = log.apply(commands.CreateQueue(QueueId(9), "plain", QueueAttributes(content_deduplication=True)))
    assert refusal_of(reply) == "NotForStandard"

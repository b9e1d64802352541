"""Dead letters and move tasks, on both sides: what leaves, what is taken in once, and what comes back."""

from __future__ import annotations

import msgspec
import pytest

from broker.base.errors import Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import MINUTE, SECOND, Millis
from broker.domain.queues import commands
from broker.domain.queues.commands import Arrival, Arrive, Arrived, MoveStarted, Shipped
from broker.domain.queues.model import QueueAttributes, RedrivePolicy, Target
from broker.domain.queues.questions import COMPLETED, FAILED, Move, MovesOf, SourcesOf
from broker.machine.contract import Wake
from tests.unit.domain.queue_log import CONTENT, QUEUE, QueueLog, handle_of, places, refusal_of

DEAD = Target("dead", QueueId(8), (GroupId(2),))
GONE = Refusal("QueueNotFound", "no such queue")


def with_redrive(receives: int = 1, name: str = "orders") -> QueueLog:
    target = "dead.fifo" if name.endswith(".fifo") else "dead"
    attributes = QueueAttributes(redrive=RedrivePolicy(target, receives), visibility_timeout=Millis(SECOND))
    return QueueLog(attributes, name=name, target=msgspec.structs.replace(DEAD, name=target))


def received_and_timed_out(log: QueueLog) -> None:
    log.deliver()
    log.at += SECOND


def moves(log: QueueLog) -> tuple[Move, ...]:
    found = log.query(MovesOf(QUEUE))
    assert isinstance(found, tuple)
    return found


# --- dead letters


def test_a_message_received_too_often_leaves_when_it_would_be_received_again() -> None:
    log = with_redrive(receives=2)
    log.send()
    received_and_timed_out(log)
    received_and_timed_out(log)
    assert not log.deliver()
    parcel = log.leaving()[0]
    assert (parcel.number, parcel.name, parcel.receive_count, parcel.destination) == (1, "orders", 2, DEAD)
    counts = log.counts()
    assert (counts.visible, counts.moving, counts.moved_total) == (0, 1, 1)
    assert Wake(("outbox", 0), 1 << 30) in log.effects


def test_dead_letters_do_not_count_among_the_messages_asked_for() -> None:
    log = with_redrive()
    log.send(3)
    log.deliver(2)
    log.at += SECOND
    assert [each.slot for each in log.deliver(1)] == [2]
    assert len(log.leaving()) == 2


def test_what_the_far_side_has_taken_in_is_gone_here() -> None:
    log = with_redrive()
    log.send()
    received_and_timed_out(log)
    log.deliver()
    assert list(log.machine.live_entries()) == [(2, 2)]
    log.apply(Shipped((1,)))
    assert not log.leaving()
    assert not list(log.machine.live_entries())
    assert log.counts().moving == 0
    log.apply(Shipped((1,)))  # again, by a second courier
    assert log.counts().moving == 0


def test_what_the_far_side_refuses_comes_back_and_stays_for_a_while() -> None:
    log = with_redrive()
    log.send()
    received_and_timed_out(log)
    log.deliver()
    log.apply(Shipped((), ((1, GONE),)))
    assert log.where() == (1, 0, 0)
    assert log.counts().moved_total == 0
    again = log.deliver()
    assert [each.receive_count for each in again] == [2]
    log.at += MINUTE
    assert not log.deliver()
    assert [parcel.number for parcel in log.leaving()] == [2]


def test_a_target_found_anew_lifts_the_suspension() -> None:
    log = with_redrive()
    log.send()
    received_and_timed_out(log)
    log.deliver()
    log.apply(Shipped((), ((1, GONE),)))
    anew = Target("dead", QueueId(80), (GroupId(3),))
    log.apply(commands.Retarget(QUEUE, anew))
    assert not log.deliver()
    assert log.leaving()[0].destination == anew


def test_what_comes_back_after_a_purge_is_purged() -> None:
    log = with_redrive()
    log.send()
    received_and_timed_out(log)
    log.deliver()
    log.apply(commands.PurgeQueue(QUEUE))
    log.apply(Shipped((), ((1, GONE),)))
    counts = log.counts()
    assert (counts.visible, counts.deleted_total, counts.moved_total) == (0, 1, 0)


def test_a_fifo_group_waits_for_its_dead_letter_and_goes_on() -> None:
    log = with_redrive(name="orders.fifo")
    log.send_to_groups("aab", "123")
    assert len(log.deliver(1)) == 1
    log.at += SECOND
    assert places(log.deliver()) == [("b", 2, 2)]
    assert [parcel.group for parcel in log.leaving()] == ["a"]
    log.reload()
    assert not log.deliver()
    log.apply(Shipped((1,)))
    assert places(log.deliver()) == [("a", 2, 1)]


def test_a_message_handed_out_uncounted_is_no_dead_letter() -> None:
    log = with_redrive()
    log.send()
    delivery = log.deliver()[0]
    log.apply(commands.ChangeVisibility(QUEUE, (handle_of(delivery),), (Millis(0),), uncounted=True))
    again = log.deliver()
    assert [each.receive_count for each in again] == [1]
    assert not log.leaving()


def test_sources_are_those_whose_policy_names_the_queue() -> None:
    log = with_redrive()
    assert log.query(SourcesOf("dead")) == ("orders",)
    assert log.query(SourcesOf("orders")) == ()


# --- coming


def test_what_arrives_is_taken_in_once_however_often_it_is_brought() -> None:
    log = QueueLog()
    command = Arrive(GroupId(5), 0, (Arrival(3, QUEUE, 1), Arrival(4, QUEUE, 1)), CONTENT)
    assert log.apply(command) == Arrived()
    log.reload()
    assert log.apply(command) == Arrived()
    assert log.apply(Arrive(GroupId(5), 0, (Arrival(4, QUEUE, 1), Arrival(6, QUEUE, 1)), CONTENT)) == Arrived()
    assert log.counts().arrived_total == log.counts().visible == 3


def test_sources_are_told_apart() -> None:
    log = QueueLog()
    for source in (5, 6):
        log.apply(Arrive(GroupId(source), 0, (Arrival(1, QUEUE, 1),), CONTENT))
    assert log.counts().visible == 2


def test_a_refusal_is_remembered_until_the_source_has_taken_note() -> None:
    log = QueueLog()
    first = log.apply(Arrive(GroupId(5), 0, (Arrival(1, QueueId(99), 1), Arrival(2, QUEUE, 1)), CONTENT))
    assert [(number, refusal.code) for number, refusal in first.refused] == [(1, "QueueNotFound")]
    log.apply(commands.CreateQueue(QueueId(99), "late", QueueAttributes()))
    log.reload()
    again = log.apply(Arrive(GroupId(5), 0, (Arrival(1, QueueId(99), 1), Arrival(2, QUEUE, 1)), CONTENT))
    assert again == first
    log.apply(Arrive(GroupId(5), 2, (), CONTENT))
    assert log.machine._moving.arrivals.refused == {}


def test_too_long_a_message_is_refused() -> None:
    log = QueueLog(QueueAttributes(message_size_limit=1024))
    arrived = log.apply(Arrive(GroupId(5), 0, (Arrival(1, QUEUE, 1025),), CONTENT))
    assert [refusal.code for _, refusal in arrived.refused] == ["MessageTooLong"]


def test_a_fifo_queue_takes_arrivals_in_their_order_and_without_deduplication() -> None:
    log = QueueLog(name="dead.fifo")
    log.send_to_groups("a", "1")
    arrivals = tuple(Arrival(number, QUEUE, 1, "a", "1") for number in (1, 2))
    log.apply(Arrive(GroupId(5), 0, arrivals, CONTENT))
    assert places(log.deliver()) == [("a", 2, 0), ("a", 3, 0), ("a", 3, 1)]


# --- move tasks


def test_a_move_takes_all_that_is_visible_and_ends_when_it_has_arrived() -> None:
    log = QueueLog()
    log.send(3)
    log.deliver(1)
    started = log.apply(commands.StartMove(QUEUE, None, 0, "label"))
    assert isinstance(started, MoveStarted)
    assert [parcel.destination for parcel in log.leaving()] == [None, None]
    assert moves(log)[0].status == "running"
    log.reload()
    log.apply(Shipped((1, 2)))
    task = moves(log)[0]
    assert (task.status, task.moved, task.to_move, task.label) == (COMPLETED, 2, 2, "label")
    assert log.where() == (0, 1, 0)


def test_a_rate_is_kept() -> None:
    log = QueueLog()
    log.send(30)
    log.apply(commands.StartMove(QUEUE, DEAD, 10))
    assert len(log.leaving()) == 1
    for _ in range(10):
        deadline = log.machine.next_deadline()
        assert deadline is not None
        log.at = deadline - 1_700_000_000_000
        log.apply(Shipped(()))
    assert len(log.leaving()) == 11
    assert log.at == SECOND


def test_a_refusal_fails_the_task_and_the_message_is_back() -> None:
    log = QueueLog()
    log.send(2)
    log.apply(commands.StartMove(QUEUE, DEAD, 0))
    log.apply(Shipped((2,), ((1, GONE),)))
    task = moves(log)[0]
    assert (task.status, task.failure, task.moved) == (FAILED, GONE.message, 1)
    assert log.where() == (1, 0, 0)
    assert [(each.slot, each.receive_count) for each in log.deliver()] == [(0, 1)]


def test_a_cancelled_task_takes_nothing_more() -> None:
    log = QueueLog()
    log.send(1_000)
    log.send(1_000)
    started = log.apply(commands.StartMove(QUEUE, DEAD, 0))
    log.apply(commands.CancelMove(QUEUE, started.task))
    log.apply(Shipped(tuple(range(1, 1_001))))
    assert log.where() == (1_000, 0, 0)
    assert (moves(log)[0].status, moves(log)[0].moved) == ("cancelled", 1_000)


def test_a_fifo_queue_is_moved_in_order_past_no_message_in_flight() -> None:
    log = QueueLog(name="dead.fifo")
    log.send_to_groups("ababb", "12345")
    log.deliver(1)
    log.apply(commands.StartMove(QUEUE, None, 0))
    assert [(parcel.group, parcel.slot) for parcel in log.leaving()] == [("b", 1), ("b", 3), ("b", 4)]


@pytest.mark.parametrize("task", [1, 99])
def test_a_task_that_never_was_cannot_be_cancelled(task: int) -> None:
    assert refusal_of(QueueLog().apply(commands.CancelMove(QUEUE, task))) == "MoveTaskNotFound"


def test_one_task_at_a_time_and_none_ends_twice() -> None:
    log = QueueLog()
    log.send()
    started = log.apply(commands.StartMove(QUEUE, None, 0))
    assert refusal_of(log.apply(commands.StartMove(QUEUE, None, 0))) == "MoveTaskRunning"
    log.apply(commands.CancelMove(QUEUE, started.task))
    assert refusal_of(log.apply(commands.CancelMove(QUEUE, started.task))) == "MoveTaskNotRunning"


def test_a_queue_is_not_removed_as_empty_while_something_leaves_it() -> None:
    log = QueueLog()
    log.send()
    log.apply(commands.StartMove(QUEUE, None, 0))
    assert refusal_of(log.apply(commands.DeleteQueue(QUEUE, only_if_empty=True))) == "QueueNotEmpty"
    log.apply(Shipped((1,)))
    assert log.apply(commands.DeleteQueue(QUEUE, only_if_empty=True)) == commands.Done()

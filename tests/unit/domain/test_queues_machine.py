"""The rules of a standard queue, one by one: what is refused, and what a handle may still do."""

from __future__ import annotations

import msgspec
import pytest

from broker.base.ids import Index, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues import commands, model, questions
from broker.domain.queues.commands import Done, Sent
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.model import Handle, QueueAttributes
from broker.machine.contract import Place, Wake
from tests.unit.domain.queue_log import CONTENT, QUEUE, START, QueueLog, refusal_of

HOURS_12 = 43_200_000
NOWHERE = QueueId(99)


@pytest.mark.parametrize(
    "command",
    [
        commands.UpdateQueue(NOWHERE, QueueAttributes()),
        commands.DeleteQueue(NOWHERE),
        commands.PurgeQueue(NOWHERE),
        commands.Send(NOWHERE, 1, 1, None, CONTENT),
        commands.Receive(NOWHERE, 1),
        commands.Delete(NOWHERE, (Handle(1, 0, 2),)),
        commands.ChangeVisibility(NOWHERE, (Handle(1, 0, 2),), (Millis(1),)),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_command_to_an_unknown_queue_is_refused(command: commands.Command) -> None:
    assert refusal_of(QueueLog().apply(command)) == "QueueNotFound"


@pytest.mark.parametrize("question", [questions.CountsOf, questions.AttributesOf, questions.HasVisible])
def test_a_question_about_an_unknown_queue_is_refused(question: type[commands.Question]) -> None:
    answer = QueueLog().machine.query(question(NOWHERE), WallMillis(START))
    assert refusal_of(answer) == "QueueNotFound"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (commands.CreateQueue(NOWHERE, "no spaces", QueueAttributes()), "InvalidName"),
        (commands.CreateQueue(NOWHERE, "orders", QueueAttributes(retention=Millis(1))), "InvalidArgument"),
        (commands.UpdateQueue(QUEUE, QueueAttributes(delay=Millis(900_001))), "InvalidArgument"),
        (commands.Send(QUEUE, 0, 0, None, CONTENT), "BatchEmpty"),
        (commands.Send(QUEUE, 1001, 1, None, CONTENT), "BatchTooLarge"),
        (commands.Send(QUEUE, 1, 262_145, None, CONTENT), "MessageTooLong"),
        (commands.Send(QUEUE, 2, 1, (0,), CONTENT), "InvalidArgument"),
        (commands.Send(QUEUE, 2, 1, (0, 900_001), CONTENT), "InvalidArgument"),
        (commands.Send(QUEUE, 2, 1, (0, -1), CONTENT), "InvalidArgument"),
        (commands.Receive(QUEUE, 0), "InvalidArgument"),
        (commands.Receive(QUEUE, 1001), "InvalidArgument"),
        (commands.Receive(QUEUE, 1, Millis(HOURS_12 + 1)), "InvalidArgument"),
        (commands.Receive(QUEUE, 1, Millis(-1)), "InvalidArgument"),
        (commands.Delete(QUEUE, ()), "BatchEmpty"),
        (commands.ChangeVisibility(QUEUE, (), ()), "BatchEmpty"),
        (commands.ChangeVisibility(QUEUE, (Handle(1, 0, 2),), ()), "InvalidArgument"),
    ],
)
def test_a_command_out_of_range_is_refused_and_changes_nothing(command: commands.Command, code: str) -> None:
    log = QueueLog()
    log.send(3)
    before = list(log.machine.dump())
    assert refusal_of(log.apply(command)) == code
    assert list(log.machine.dump()) == before


def test_a_queue_is_created_once_and_refused_with_other_attributes() -> None:
    log = QueueLog(QueueAttributes(delay=Millis(0)))
    assert log.apply(commands.CreateQueue(QUEUE, "orders", QueueAttributes())) == Done()
    other = commands.CreateQueue(QUEUE, "orders", QueueAttributes(delay=Millis(1000)))
    assert refusal_of(log.apply(other)) == "QueueExists"


def test_what_was_sent_is_described_by_where_it_is_in_the_log() -> None:
    log = QueueLog()
    log.at = 5
    assert log.send(3) == Sent(2, 3, WallMillis(START + 5))
    assert log.effects == (Wake(("queue", QUEUE), 3),)


def test_a_purge_drops_all_and_is_refused_within_a_minute() -> None:
    log = QueueLog()
    log.send(3)
    log.send(1, delays=(5000,))
    log.receive(1)
    assert log.apply(commands.PurgeQueue(QUEUE)) == Done()
    assert (log.where(), log.counts().deleted_total) == ((0, 0, 0), 4)
    log.at += 59_999
    assert refusal_of(log.apply(commands.PurgeQueue(QUEUE))) == "PurgeInProgress"
    log.at += 1
    assert log.apply(commands.PurgeQueue(QUEUE)) == Done()


def test_a_deleted_queue_wakes_all_who_wait_for_it() -> None:
    log = QueueLog()
    log.apply(commands.DeleteQueue(QUEUE))
    (wake,) = log.effects
    assert isinstance(wake, Wake)
    assert wake.key == ("queue", QUEUE)
    assert wake.count > 1_000_000


def test_a_stale_handle_cannot_delete_what_another_consumer_holds() -> None:
    log = QueueLog()
    log.send()
    (first,) = log.receive(timeout=1000)
    log.at += 1000
    (second,) = log.receive(timeout=1000)
    assert log.delete(first) == {0: "ReceiptHandleExpired"}
    assert log.where() == (0, 1, 0)
    assert log.delete(second) == {}
    assert log.where() == (0, 0, 0)


def test_a_stale_handle_stays_powerless_when_the_message_is_visible_again() -> None:
    log = QueueLog()
    log.send()
    (first,) = log.receive(timeout=1000)
    log.at += 1000
    (second,) = log.receive(timeout=1000)
    log.at += 1000
    assert log.delete(first) == {0: "ReceiptHandleExpired"}
    assert log.delete(second) == {}


def test_the_last_handle_still_deletes_after_its_time_out_until_someone_else_receives() -> None:
    log = QueueLog()
    log.send()
    (handle,) = log.receive(timeout=1000)
    log.at += 5000
    assert log.delete(handle) == {}
    assert (log.where(), log.counts().deleted_total) == ((0, 0, 0), 1)


def test_deleting_what_is_gone_is_done() -> None:
    log = QueueLog()
    log.send()
    (handle,) = log.receive()
    assert log.delete(handle, handle) == {}
    assert log.counts().deleted_total == 1


@pytest.mark.parametrize("receipt", [0, 2, 4, 1000], ids=["none", "the send", "this command", "the future"])
def test_a_receipt_that_was_never_given_is_invalid(receipt: int) -> None:
    log = QueueLog()
    log.send()
    log.receive()
    assert log.delete(Handle(2, 0, receipt)) == {0: "ReceiptHandleInvalid"}


def test_a_message_made_visible_at_once_wakes_and_its_handle_is_over_for_changes() -> None:
    log = QueueLog()
    log.send(2)
    handles = log.receive()
    assert log.change_visibility(handles[:1], 0) == {}
    assert log.effects == (Wake(("queue", QUEUE), 1),)
    assert log.where() == (1, 1, 0)
    assert log.change_visibility(handles, 1000, 1000) == {0: "ReceiptHandleExpired"}


def test_visibility_may_not_be_extended_beyond_twelve_hours_from_the_receive() -> None:
    log = QueueLog()
    log.send()
    handles = log.receive(timeout=30_000)
    log.at += 10_000
    assert log.change_visibility(handles, HOURS_12) == {0: "InvalidArgument"}
    assert log.change_visibility(handles, HOURS_12 - 10_000) == {}
    log.at += HOURS_12 - 10_001
    assert log.where() == (0, 1, 0)
    assert not log.has_visible()
    log.at += 1
    assert log.has_visible()


def test_in_a_batch_of_changes_the_last_one_counts() -> None:
    log = QueueLog()
    log.send()
    (handle,) = log.receive()
    assert log.change_visibility([handle, handle, handle], 1000, 5000, 2000) == {}
    log.at += 1999
    assert log.receive() == []
    log.at += 1
    assert len(log.receive()) == 1


def test_receives_stop_at_the_limit_of_messages_in_flight() -> None:
    log = QueueLog(in_flight_limit=3)
    log.send(5)
    assert len(log.receive(2)) == 2
    (last,) = log.receive(2)
    assert refusal_of(log.apply(commands.Receive(QUEUE, 1))) == "OverLimit"
    log.delete(last)
    assert len(log.receive(1)) == 1


def test_an_empty_queue_at_the_limit_is_just_empty() -> None:
    log = QueueLog(in_flight_limit=3)
    log.send(3)
    log.receive(3)
    assert log.receive() == []


def test_a_message_tells_how_often_and_when_it_was_received() -> None:
    log = QueueLog()
    log.send()
    log.at = 10
    log.receive(timeout=1000)
    log.at = 2000
    reply = log.apply(commands.Receive(QUEUE, 1))
    (delivery,) = reply.deliveries
    assert (delivery.receive_count, delivery.sent_at, delivery.first_received_at) == (2, START, START + 10)
    assert reply.until == START + 32_000


def test_what_comes_back_is_served_before_what_was_sent_later() -> None:
    log = QueueLog()
    log.send(2)
    log.send(2)
    handles = log.receive(3, timeout=1000)
    log.change_visibility(handles[1:], 0, 0)
    assert [(each.index, each.slot) for each in log.receive(4)] == [(2, 1), (3, 0), (3, 1)]


@pytest.mark.parametrize("delayed", [2, 3, 4])
def test_messages_are_served_in_the_order_of_sending_wherever_they_have_been(delayed: int) -> None:
    log = QueueLog()
    for index in (2, 3, 4, 5):
        log.send(1, delays=(1000 if index == delayed else 0,))
    log.change_visibility(log.receive(2), 0, 0)
    log.at = 1000
    assert [each.index for each in log.receive()] == [2, 3, 4, 5]


def test_a_receive_without_a_visibility_timeout_leaves_the_message_visible() -> None:
    log = QueueLog()
    log.send()
    (handle,) = log.receive(timeout=0)
    assert log.where() == (1, 0, 0)
    assert log.effects == (Wake(("queue", QUEUE), 1),)
    assert log.delete(handle) == {}


def test_a_queues_own_delay_holds_for_messages_that_bring_none() -> None:
    log = QueueLog(QueueAttributes(delay=Millis(5000)))
    log.send(1)
    log.send(3, delays=(0, 2000, 5000))
    assert log.where() == (1, 0, 3)
    log.at = 2000
    assert log.has_visible()
    log.receive()
    assert log.where() == (0, 2, 2)
    log.at = 5000
    assert len(log.receive()) == 2


@pytest.mark.parametrize(
    ("delay", "becomes"), [(1, 10), (10, 10), (1_000, 1_000), (1_001, 1_100), (60_000, 60_000), (60_001, 61_000)]
)
def test_delays_are_rounded_up_to_a_resolution(delay: int, becomes: int) -> None:
    log = QueueLog()
    log.send(1, delays=(delay,))
    assert log.machine.next_deadline() == START + becomes


@pytest.mark.parametrize("place", ["visible", "in flight", "delayed", "visible again"])
def test_retention_counts_from_the_sending_wherever_a_message_is(place: str) -> None:
    log = QueueLog(QueueAttributes(retention=Millis(60_000)))
    log.send(1, delays=(900_000,) if place == "delayed" else None)
    if place == "in flight":
        log.receive(timeout=900_000)
    if place == "visible again":
        log.receive(timeout=0)
    log.at = 59_999
    assert (log.receive(timeout=0) != []) == place.startswith("visible")
    assert log.counts().oldest_sent_at == START
    log.at = 60_000
    assert log.receive() == []
    assert (log.where(), log.counts().expired_total, log.counts().oldest_sent_at) == ((0, 0, 0), 1, None)
    assert list(log.machine.live_entries()) == []


def test_a_shorter_retention_expires_what_is_there() -> None:
    log = QueueLog()
    log.send()
    log.at = 60_000
    log.apply(commands.UpdateQueue(QUEUE, QueueAttributes(retention=Millis(60_000))))
    assert log.counts().expired_total == 1


def test_an_expired_message_does_not_count_as_visible_before_a_command_drops_it() -> None:
    log = QueueLog(QueueAttributes(retention=Millis(60_000)))
    log.send()
    log.at = 60_000
    assert not log.has_visible()


def test_the_deadline_of_an_answered_delivery_is_forgotten() -> None:
    log = QueueLog(QueueAttributes(retention=Millis(3_600_500)))
    log.send(2)
    handles = log.receive(1, timeout=1000)
    assert log.machine.next_deadline() == START + 1000
    log.delete(*handles)
    assert log.machine.next_deadline() == START + 3_601_000, "retention, in whole seconds"


def test_a_shortened_time_out_is_the_new_deadline() -> None:
    log = QueueLog()
    log.send(2)
    handles = log.receive(timeout=30_000)
    log.change_visibility(handles[:1], 1000)
    assert log.machine.next_deadline() == START + 1000
    log.at = 1000
    assert log.has_visible()
    assert len(log.receive()) == 1


def test_a_command_of_a_newer_version_stops_the_replica() -> None:
    class Unheard(commands._Command, frozen=True, tag=99):
        pass

    with pytest.raises(msgspec.ValidationError):
        QueueLog().apply(Unheard(QUEUE))  # type: ignore[arg-type]


def test_all_queues_are_told_with_their_counts() -> None:
    log = QueueLog()
    log.apply(commands.CreateQueue(QueueId(3), "returns", QueueAttributes()))
    log.send(2)
    answer = log.machine.query(questions.AllQueues(), WallMillis(START))
    assert [(described.name, counts.visible) for described, counts in answer] == [("returns", 0), ("orders", 2)]


def test_reading_a_reply_back_gives_the_reply() -> None:
    log = QueueLog()
    reply = log.send(3)
    assert log.machine.decode_reply(msgspec.msgpack.encode(reply)) == reply


def test_time_that_passes_in_one_leap_wakes_once_for_all_that_appears() -> None:
    log = QueueLog()
    log.send(3)
    log.receive(2, timeout=1000)
    log.send(1, delays=(2000,))
    effects = log.machine.advance(WallMillis(START + 10_000))
    assert effects == (Wake(("queue", QUEUE), 3),)
    assert log.machine.advance(WallMillis(START + 10_000)) == ()


def test_a_command_that_wakes_while_time_does_wakes_once() -> None:
    log = QueueLog()
    log.send(1, delays=(2000,))
    log.at = 2000
    log.send(4)
    assert log.effects == (Wake(("queue", QUEUE), 5),)


def test_the_place_of_a_command_is_its_own() -> None:
    machine = QueueMachine()
    create = msgspec.msgpack.encode(commands.CreateQueue(QUEUE, "orders", QueueAttributes()))
    machine.apply(create, Place(Index(4), WallMillis(9)))
    described = machine.query(questions.AttributesOf(QUEUE), WallMillis(0))
    assert described == model.Described(QUEUE, "orders", QueueAttributes(), WallMillis(9), WallMillis(9))

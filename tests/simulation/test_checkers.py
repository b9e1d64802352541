"""Each checker of queues by itself: what it lets pass, and what it does not. Stories are told by hand."""

import pytest

from broker.base.errors import Refusal
from broker.base.instants import Millis
from broker.domain.queues import commands, model, questions
from broker.machine.contract import Wake
from tests.simulation.checkers.violation import Violation
from tests.simulation.hearing import HERE, QUEUE, SECOND, THERE, Hearing

REFUSED = Refusal("QueueNotFound", "no such queue")


def broken_by(promise: str) -> object:
    return pytest.raises(Violation, match=f"^{promise}")


def fifo(**attributes: object) -> Hearing:
    return Hearing("orders.fifo", **attributes)


def sent_to_groups(hearing: Hearing, *groups: str) -> int:
    identities = tuple(f"id-{hearing.index}-{slot}" for slot in range(len(groups)))
    return hearing.sent(len(groups), groups=groups, deduplication=identities)


def dead_letter(hearing: Hearing) -> questions.Parcel:
    """A message that was received once too often has left."""
    index = hearing.sent()
    hearing.received(hearing.delivery(index), timeout=10)
    parcel = hearing.parcel(1, index)
    hearing.received(parcels=(parcel,), later=20)
    return parcel


# --- deliveries


def test_a_message_in_flight_has_one_holder():
    hearing = Hearing(redrive=None)
    index = hearing.sent()
    hearing.received(hearing.delivery(index))
    with broken_by("no message has two holders"):
        hearing.received(hearing.delivery(index))


def test_a_receive_must_find_what_is_visible():
    hearing = Hearing()
    hearing.sent(3)
    with broken_by("a receive finds what is visible"):
        hearing.received()


def test_a_delayed_message_is_not_early():
    hearing = Hearing()
    index = hearing.sent(due=(hearing.now + 5_000,))
    hearing.received()
    with broken_by("nothing is delivered before its time"):
        hearing.received(hearing.delivery(index))


def test_a_message_whose_life_is_over_is_not_delivered():
    hearing = Hearing()
    index = hearing.sent(lifetimes=(2 * SECOND,))
    late = hearing.delivery(index, later=2 * SECOND)
    with broken_by("nothing is delivered after its life"):
        hearing.received(late, later=2 * SECOND)


# --- message groups


def test_a_group_with_an_open_delivery_is_blocked_and_others_go_on():
    hearing = fifo()
    index = sent_to_groups(hearing, "a", "a", "b")
    hearing.received(hearing.delivery(index), most=1)
    hearing.received(hearing.delivery(index, 2))
    assert hearing.reached["group blocked"] == 1
    with broken_by("one open delivery per message group"):
        hearing.received(hearing.delivery(index, 1))


def test_the_older_message_of_a_group_comes_first():
    hearing = fifo()
    index = sent_to_groups(hearing, "a", "a")
    with broken_by("messages of a group come in order"):
        hearing.received(hearing.delivery(index, 1), most=1)


def test_a_group_waits_for_its_message_on_the_way_to_the_dead_letters():
    hearing = fifo()
    index = sent_to_groups(hearing, "a", "a")
    hearing.received(hearing.delivery(index), timeout=10, most=1)
    hearing.received(parcels=(hearing.parcel(1, index),), later=20)
    with broken_by("one open delivery per message group"):
        hearing.received(hearing.delivery(index, 1))


# --- deduplication and attempts


def test_a_second_send_within_five_minutes_must_name_the_first():
    hearing = fifo()
    first = hearing.sent(groups=("a",), deduplication=("x",))
    hearing.sent(groups=("a",), deduplication=("x",), duplicates={0: first << 16})
    with broken_by("a duplicate's answer names the first message"):
        hearing.sent(groups=("a",), deduplication=("x",), duplicates={0: (first + 1) << 16})


def test_a_second_send_within_five_minutes_must_not_take_effect():
    hearing = fifo()
    hearing.sent(groups=("a",), deduplication=("x",))
    with broken_by("nothing is enqueued twice within five minutes"):
        hearing.sent(groups=("b",), deduplication=("x",))


def test_after_five_minutes_the_same_is_new():
    hearing = fifo()
    first = hearing.sent(groups=("a",), deduplication=("x",))
    hearing.now += 300 * SECOND
    with broken_by("nothing is dropped that was not a duplicate"):
        hearing.sent(groups=("a",), deduplication=("x",), duplicates={0: first << 16})


def test_groups_may_use_the_same_identity_where_the_scope_is_the_group():
    hearing = fifo(deduplication_scope=model.PER_MESSAGE_GROUP)
    first = hearing.sent(groups=("a",), deduplication=("x",))
    hearing.sent(groups=("b",), deduplication=("x",))
    with broken_by("nothing is dropped that was not a duplicate"):
        hearing.sent(groups=("c",), deduplication=("x",), duplicates={0: first << 16})


def test_an_attempt_that_holds_its_messages_gets_them_again():
    hearing = fifo()
    index = sent_to_groups(hearing, "a")
    handed_out = hearing.delivery(index)
    hearing.received(handed_out, attempt="one")
    hearing.received(handed_out, attempt="one")
    assert hearing.reached["receive attempt repeated"] == 1
    with broken_by("a receive attempt is answered again with the same messages"):
        hearing.received(attempt="one")


def test_an_attempt_whose_time_is_up_is_a_new_one():
    hearing = fifo(redrive=None)
    index = sent_to_groups(hearing, "a")
    handed_out = hearing.delivery(index)
    hearing.received(handed_out, attempt="one", timeout=10)
    with broken_by("a receive attempt is answered again with the same messages"):
        hearing.received(handed_out, attempt="one", later=20)


# --- tenants


def test_a_noisy_tenant_waits_for_a_quiet_one():
    hearing = Hearing()
    noisy = hearing.sent(31, groups=("noisy",) * 31)
    hearing.received(*(hearing.delivery(noisy, slot) for slot in range(30)), most=30)
    quiet = hearing.sent(groups=("quiet",))
    with broken_by("no noisy message group passes a quiet one"):
        hearing.received(hearing.delivery(noisy, 30), most=1)
    hearing.received(hearing.delivery(quiet), most=1)
    assert hearing.reached["noisy group waited"] == 1
    hearing.received(hearing.delivery(noisy, 30), most=1)


def test_a_tenant_with_few_messages_in_flight_is_not_noisy():
    hearing = Hearing()
    first = hearing.sent(30, groups=("busy",) * 30)
    hearing.received(*(hearing.delivery(first, slot) for slot in range(29)), most=29)
    hearing.sent(groups=("quiet",))
    hearing.received(hearing.delivery(first, 29), most=1)


# --- schedules and exchanges


def test_a_scheduled_message_can_be_cancelled_until_it_is_due():
    hearing = Hearing()
    index = hearing.sent(2, due=(hearing.now + 5_000, hearing.now + 5_000))
    hearing.tell(commands.Cancel(QUEUE, ((index, 0),)), commands.Results())
    with broken_by("a scheduled message can be cancelled"):
        hearing.tell(commands.Cancel(QUEUE, ((index, 1),)), commands.Results(((0, REFUSED),)))
    hearing.now += 5_000
    with broken_by("a cancelled message is never delivered"):
        hearing.received(hearing.delivery(index, 0))
    with broken_by("a scheduled message can be cancelled"):
        hearing.tell(commands.Cancel(QUEUE, ((index, 1),)), commands.Results())


def test_an_exchange_deletes_what_its_handle_holds_or_sends_nothing():
    hearing = Hearing(redrive=None)
    index = hearing.sent()
    first = hearing.received(hearing.delivery(index), timeout=10)
    hearing.received(hearing.delivery(index, later=20), later=20)
    stale = commands.Delete(QUEUE, (model.Handle(index, 0, first),))
    exchange = commands.Exchange(QUEUE, commands.Send(QUEUE, 0, 0, None, b"\x90"), stale)
    hearing.tell(exchange, commands.Refused(Refusal("ReceiptHandleExpired", "received again")))
    with broken_by("an exchange does both or neither"):
        hearing.tell(exchange, commands.Sent(hearing.index + 1, 0, 0))


# --- on the way


def test_a_dead_letter_leaves_and_is_not_delivered():
    hearing = Hearing()
    index = hearing.sent()
    hearing.received(hearing.delivery(index), timeout=10)
    with broken_by("a dead letter is not delivered"):
        hearing.received(hearing.delivery(index, later=20), later=20)


def test_a_dead_letter_is_not_kept_back():
    hearing = Hearing()
    index = hearing.sent()
    hearing.received(hearing.delivery(index), timeout=10)
    with broken_by("a dead letter leaves when it would be received"):
        hearing.received(later=20)


def test_nothing_leaves_that_is_not_dead():
    hearing = Hearing()
    index = hearing.sent()
    with broken_by("only dead letters, and what a move task takes, leave a queue"):
        hearing.received(parcels=(hearing.parcel(1, index),))


def test_a_message_that_left_is_not_delivered_as_well():
    hearing = Hearing()
    index = hearing.sent()
    hearing.received(hearing.delivery(index), timeout=10)
    with broken_by("a message is in one place"):
        hearing.received(hearing.delivery(index, later=20), parcels=(hearing.parcel(1, index),), later=20)


def test_a_parcel_arrives_once_and_is_then_noted():
    hearing = Hearing()
    parcel = dead_letter(hearing)
    hearing.arrived(parcel)
    hearing.arrived(parcel)
    hearing.shipped(1)
    assert (hearing.reached["arrival repeated"], hearing.reached["dead letter carried"]) == (1, 1)
    hearing.judge.journeys.all_ended(hearing.judge.models)
    (there,) = hearing.judge.model(THERE).queues.values()
    assert len(there.messages) == 1


def test_a_parcel_noted_before_it_arrived_is_lost():
    hearing = Hearing()
    dead_letter(hearing)
    with broken_by("a message on its way is neither lost nor doubled"):
        hearing.shipped(1)


def test_a_parcel_that_arrived_does_not_come_back_as_well():
    hearing = Hearing()
    hearing.arrived(dead_letter(hearing))
    with broken_by("a message on its way is neither lost nor doubled"):
        hearing.shipped(returned={1: REFUSED})


def test_a_refused_parcel_is_refused_whenever_it_comes_and_then_back():
    hearing = Hearing()
    parcel = dead_letter(hearing)
    hearing.arrived(parcel, refusal=REFUSED)
    with broken_by("a message on its way is neither lost nor doubled"):
        hearing.arrived(parcel)
    hearing.shipped(returned={1: REFUSED})
    hearing.received(hearing.delivery(parcel.index))


def test_a_parcel_that_nobody_carries_is_missed_in_the_end():
    hearing = Hearing()
    dead_letter(hearing)
    with broken_by("a message on its way is neither lost nor doubled"):
        hearing.judge.journeys.all_ended(hearing.judge.models)


def test_a_message_arrives_as_it_left():
    hearing = Hearing()
    with broken_by("a message arrives as it left"):
        hearing.arrived(dead_letter(hearing), body=b"altered")


def test_a_move_task_keeps_its_rate():
    hearing = Hearing(redrive=None)
    index = hearing.sent(2)
    start = commands.StartMove(QUEUE, hearing.dead, 1)
    parcels = (hearing.parcel(1, index), hearing.parcel(2, index, 1))
    with broken_by("a move task keeps its rate"):
        hearing.tell(start, commands.MoveStarted(hearing.index + 1), *parcels)


def test_a_move_task_takes_the_oldest_first():
    hearing = Hearing(redrive=None)
    index = hearing.sent(2)
    start = commands.StartMove(QUEUE, hearing.dead, 0)
    with broken_by("a move task takes the oldest first"):
        hearing.tell(start, commands.MoveStarted(hearing.index + 1), hearing.parcel(1, index, 1))


# --- what is told


def test_what_is_browsed_and_counted_is_what_is_there():
    hearing = Hearing()
    index = hearing.sent(due=(hearing.now + 5_000,))
    (queue,) = hearing.judge.model(HERE).queues.values()
    question = questions.Browse(QUEUE, model.STATES)
    held = queue.messages[index, 0]
    told = questions.Browsed(index, 0, model.DELAYED, held.sent_at, held.visible_at, 0, 0)
    hearing.judge.places.seen(queue, question, questions.BrowsePage((told,), False), hearing.now)
    with broken_by("a message is in one place"):
        hearing.judge.places.seen(queue, question, questions.BrowsePage((told, told), False), hearing.now)
    counts = model.Counts(0, 0, 1, held.sent_at, 1, 0, 0, 0)
    hearing.judge.told(questions.CountsOf(QUEUE), counts, "a-0")
    with broken_by("a message is in one place"):
        hearing.judge.told(questions.CountsOf(QUEUE), model.Counts(1, 0, 1, held.sent_at, 1, 0, 0, 0), "a-0")


def test_a_queue_with_something_to_hand_out_says_so():
    hearing = Hearing()
    hearing.sent()
    question = questions.HasVisible(QUEUE)
    with broken_by("a queue knows whether a receive would find anything"):
        hearing.judge.answered(HERE, question, False, hearing.now, hearing.now, "a-0")


def test_who_waits_is_woken_when_a_message_becomes_visible():
    hearing = Hearing()
    index = hearing.sent()
    with broken_by("who waits for messages is woken"):
        hearing.judge.emitted(HERE, (Wake(("queue", QUEUE + 1)),), index, hearing.now)
    other = Hearing()
    other.judge.emitted(HERE, (Wake(("queue", QUEUE)),), other.sent(), other.now)


def test_a_purge_frees_the_group_of_what_is_on_its_way_and_drops_it_when_it_comes_back():
    hearing = fifo()
    index = sent_to_groups(hearing, "a")
    hearing.received(hearing.delivery(index), timeout=10)
    hearing.received(parcels=(hearing.parcel(1, index),), later=20)
    hearing.tell(commands.PurgeQueue(QUEUE), commands.Done())
    newer = sent_to_groups(hearing, "a")
    hearing.received(hearing.delivery(newer))
    hearing.shipped(returned={1: REFUSED})
    (queue,) = hearing.judge.model(HERE).queues.values()
    assert (list(queue.messages), queue.deleted, queue.moved) == ([(newer, 0)], 1, 0)


def test_a_receive_that_is_taken_back_does_not_count():
    hearing = Hearing()
    index = hearing.sent()
    receipt = hearing.received(hearing.delivery(index))
    handle = model.Handle(index, 0, receipt)
    hearing.tell(commands.ChangeVisibility(QUEUE, (handle,), (Millis(0),), uncounted=True), commands.Results())
    hearing.received(hearing.delivery(index, receive_count=1, first_received_at=hearing.now + 1))

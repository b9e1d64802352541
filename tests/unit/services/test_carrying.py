"""What the courier decides, one output at a time: lanes, batches, pauses, and what is noted when."""

from __future__ import annotations

from broker.base.errors import InvalidArgument, QueueNotFound, Refusal, Unavailable
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.services.carrying import (
    Answered,
    Carry,
    Carrying,
    CarryingSettings,
    Note,
    Noted,
    Stuck,
    Unanswered,
    Unnoted,
    Woken,
)
from tests.unit.services.carried_world import NOWHERE, Box, Load, Source, numbers

ONE, TWO = GroupId(1), GroupId(2)
NOW = Millis(1_000)
SMALL = CarryingSettings(look_ahead=8, page=4, read=100, batch=3, first_pause=Millis(20), longest_pause=Millis(100))
GONE = Refusal(QueueNotFound.code, "no such queue")
NO_LEADER = Unavailable("no leader")


def carrying(source: Source, settings: CarryingSettings = SMALL) -> Carrying[Box]:
    return Carrying(source, settings)


def settled(carry: object) -> int:
    assert isinstance(carry, Carry)
    assert isinstance(carry.command, Load)
    return carry.command.settled


def later(milliseconds: int) -> Millis:
    return Millis(NOW + milliseconds)


def test_an_empty_outbox_asks_for_nothing() -> None:
    courier = carrying(Source())
    assert courier.handle(Woken(), NOW) == []
    assert courier.next_deadline() is None
    assert (len(courier), courier.oldest()) == (0, None)


def test_each_group_has_a_lane_with_one_command_under_way() -> None:
    source = Source()
    for number, target in enumerate((1, 2, 1, 2), 1):
        source.leave(f"m{number}", target)
    courier = carrying(source)

    outputs = courier.handle(Woken(), NOW)

    assert [(output.target, numbers(output)) for output in outputs] == [(ONE, [1, 3]), (TWO, [2, 4])]
    source.leave("m5", 1)
    assert courier.handle(Woken(), NOW) == []
    note, more = sorted(courier.handle(Answered(ONE, ()), NOW), key=lambda output: isinstance(output, Carry))
    assert (note, numbers(more)) == (Note((1, 3), ()), [5])


def test_batches_have_so_many_parcels_at_most() -> None:
    source = Source()
    for number in range(4):
        source.leave(f"m{number}", 1)
    courier = carrying(source)
    (first,) = courier.handle(Woken(), NOW)
    outputs = courier.handle(Answered(ONE, ()), NOW)

    assert numbers(first) == [1, 2, 3]
    assert [numbers(output) for output in outputs if isinstance(output, Carry)] == [[4]]


def test_what_was_answered_leaves_the_view_when_it_is_noted() -> None:
    source = Source()
    source.leave("m1", 1)
    source.leave("m2", 1)
    courier = carrying(source)
    courier.handle(Woken(), NOW)

    (note,) = courier.handle(Answered(ONE, ((2, GONE),)), later(5))

    assert note == Note((1,), ((source.outbox[2], GONE),))
    assert (len(courier), courier.oldest()) == (2, NOW)
    assert courier.handle(Noted(), later(6)) == []
    assert (len(courier), courier.oldest()) == (0, None)


def test_a_far_side_may_forget_what_is_noted_and_nothing_else() -> None:
    source = Source()
    for number in range(1, 10):
        source.leave(f"m{number}", 1)
    courier = carrying(source, CarryingSettings(batch=3))
    (first,) = courier.handle(Woken(), NOW)
    _, second = sorted(courier.handle(Answered(ONE, ()), NOW), key=lambda output: isinstance(output, Carry))
    courier.handle(Noted(), NOW)
    outputs = courier.handle(Answered(ONE, ()), NOW)

    assert (settled(first), settled(second)) == (1, 1)
    assert [settled(output) for output in outputs if isinstance(output, Carry)] == [4]


def test_a_lane_without_an_answer_waits_longer_each_time_and_holds_up_no_other() -> None:
    source = Source()
    source.leave("m1", 1)
    courier = carrying(source)
    courier.handle(Woken(), NOW)

    assert courier.handle(Unanswered(ONE, NO_LEADER), NOW) == []
    assert courier.next_deadline() == later(20)
    source.leave("m2", 2)
    source.leave("m3", 1)
    (other,) = courier.handle(Woken(), later(19))
    (again,) = courier.wake(later(20))
    courier.handle(Unanswered(ONE, NO_LEADER), later(30))

    assert (numbers(other), numbers(again)) == ([2], [1, 3])
    assert courier.next_deadline() == later(70)
    courier.wake(later(70))
    courier.handle(Answered(ONE, ()), later(70))
    source.leave("m4", 1)
    courier.handle(Woken(), later(80))
    courier.handle(Unanswered(ONE, NO_LEADER), later(80))
    assert courier.next_deadline() == later(100)


def test_pauses_grow_to_the_longest_and_trouble_that_stays_begins_there() -> None:
    source = Source()
    source.leave("m1", 1)
    courier = carrying(source)
    courier.handle(Woken(), NOW)
    for pause in (20, 40, 80, 100, 100):
        now = courier.next_deadline() or NOW
        courier.wake(now)
        courier.handle(Unanswered(ONE, NO_LEADER), now)
        assert courier.next_deadline() == now + pause

    source.leave("m2", 2)
    courier.handle(Woken(), NOW)
    courier.handle(Unanswered(TWO, InvalidArgument("a newer version asks")), NOW)
    (again,) = courier.wake(later(100))
    assert numbers(again) == [2]


def test_notes_that_may_not_have_been_taken_are_repeated() -> None:
    source = Source()
    source.leave("m1", 1)
    courier = carrying(source)
    courier.handle(Woken(), NOW)
    courier.handle(Answered(ONE, ()), NOW)

    assert courier.handle(Unnoted(NO_LEADER), NOW) == []
    assert courier.next_deadline() == later(20)
    assert courier.wake(later(20)) == [Note((1,), ())]


def test_what_can_go_nowhere_is_returned_without_being_carried() -> None:
    source = Source()
    source.leave("m1", NOWHERE)
    source.leave("m2", 1)
    courier = carrying(source)

    carry, note = courier.handle(Woken(), NOW)

    assert numbers(carry) == [2]
    assert note == Note((), ((source.outbox[1], Refusal("Nowhere", "m1 goes nowhere")),))
    courier.handle(Noted(), NOW)
    assert len(courier) == 1


def test_reading_to_address_is_done_in_portions() -> None:
    source = Source()
    for number in range(3):
        source.leave(f"m{number}", number + 1, read=60)
    courier = carrying(source)

    assert len(courier.handle(Woken(), NOW)) == 2
    assert courier.next_deadline() == NOW
    assert [numbers(output) for output in courier.wake(NOW)] == [[3]]
    assert courier.next_deadline() is None


def test_beyond_the_look_ahead_parcels_wait_for_room() -> None:
    source = Source()
    for number in range(8):
        source.leave(f"m{number}", 1)
    source.leave("beyond", 2)
    courier = carrying(source)
    courier.handle(Woken(), NOW)
    assert courier.next_deadline() == NOW
    courier.wake(NOW)
    courier.handle(Unanswered(ONE, NO_LEADER), NOW)
    assert courier.handle(Woken(), NOW) == []
    assert len(courier) == 8

    courier.wake(later(20))
    for now in (20, 21):
        courier.handle(Answered(ONE, ()), later(now))
        outputs = courier.handle(Noted(), later(now))

    assert [output.target for output in outputs if isinstance(output, Carry)] == [TWO]


def test_a_parcel_that_cannot_be_read_stays_and_so_do_those_behind_it_on_its_lane() -> None:
    source = Source()
    for number, target in enumerate((1, 1, 2, 1), 1):
        source.leave(f"m{number}", target)
    courier = carrying(source)
    source.unreadable = {2}

    first, other = courier.handle(Woken(), NOW)
    outputs = courier.handle(Answered(ONE, ()), NOW)

    assert (numbers(first), numbers(other)) == ([1], [3])
    assert [type(output) for output in outputs] == [Stuck, Note]


def test_nothing_passes_a_parcel_that_must_be_read_to_be_addressed_and_cannot() -> None:
    """It might go where the next one goes, and numbers must ascend there."""
    source = Source()
    source.leave("m1", 1)
    source.leave("m2", 1, read=10)
    source.leave("m3", 1)
    courier = carrying(source)
    source.unreadable = {2}

    stuck, first = courier.handle(Woken(), NOW)
    source.unreadable.clear()
    courier.handle(Answered(ONE, ()), NOW)
    (carry,) = courier.wake(later(100))

    assert isinstance(stuck, Stuck)
    assert (numbers(first), numbers(carry)) == ([1], [2, 3])


def test_an_unreadable_parcel_is_reported_and_tried_again() -> None:
    source = Source()
    source.leave("m1", 1)
    source.leave("m2", 1)
    courier = carrying(source)
    source.unreadable = {1}

    (stuck,) = courier.handle(Woken(), NOW)

    assert isinstance(stuck, Stuck)
    assert (stuck.number, str(stuck.error), courier.next_deadline()) == (1, "m1 cannot be read", later(100))
    assert courier.wake(later(99)) == []
    source.unreadable.clear()
    (carry,) = courier.wake(later(100))
    assert numbers(carry) == [1, 2]


def test_an_unreadable_parcel_that_has_left_the_outbox_is_forgotten() -> None:
    source = Source()
    source.leave("m1", 1)
    courier = carrying(source)
    courier.handle(Woken(), NOW)
    courier.handle(Unanswered(ONE, NO_LEADER), NOW)
    source.outbox.clear()
    source.unreadable = {1}

    assert courier.wake(later(20)) == []
    assert (len(courier), courier.next_deadline()) == (0, None)

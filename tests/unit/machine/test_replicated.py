"""The machine of a group: envelopes, one time for all rooms, repeated requests, dumps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from broker.base.errors import Refusal
from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.machine import envelope
from broker.machine.contract import Applied, Wake
from broker.machine.envelope import TICK_ROOM, Envelope, RequestId
from broker.machine.replicated import ReplicatedMachine
from broker.machine.sessions import Sessions
from tests.unit.machine.counting_room import Add, CountingRoom, No, RingAt, Total

SESSION = b"0123456789abcdef"


class GroupLog:
    def __init__(self) -> None:
        self.left, self.right = CountingRoom("left"), CountingRoom("right")
        self.machine = ReplicatedMachine({"left": self.left, "right": self.right})
        self.index = 0

    def apply(self, room: str, command: Any, at: int = 0, request: RequestId | None = None) -> Applied:
        raw = msgspec.Raw(msgspec.msgpack.encode(command))
        return self.apply_data(envelope.encode(Envelope(WallMillis(at), room, request, raw)))

    def tick(self, at: int) -> Applied:
        return self.apply_data(envelope.encode(Envelope(WallMillis(at), TICK_ROOM, None)))

    def apply_data(self, data: bytes) -> Applied:
        self.index += 1
        return self.machine.apply(data, Index(self.index))


def test_a_command_goes_to_the_room_it_names() -> None:
    log = GroupLog()
    assert log.apply("left", Add(2), at=5).reply == Total(2, 1, 5)
    assert log.apply("right", Add(3), at=6).reply == Total(3, 2, 6)
    assert (log.left.total, log.right.total) == (2, 3)
    assert (log.machine.applied_index, log.machine.now) == (2, 6)


def test_a_command_to_a_room_that_is_not_there_is_refused() -> None:
    reply = GroupLog().apply("attic", Add(1)).reply
    assert isinstance(reply, Refusal)
    assert reply.code == "InvalidArgument"
    assert "attic" in reply.message


def test_time_never_goes_back() -> None:
    log = GroupLog()
    log.apply("left", Add(1), at=100)
    assert log.apply("left", Add(1), at=40).reply == Total(2, 2, 100)


def test_time_passes_in_all_rooms_and_their_effects_are_told() -> None:
    log = GroupLog()
    log.apply("left", RingAt(50))
    log.apply("right", RingAt(60))
    assert log.machine.next_deadline() == 50
    assert log.apply("left", Add(1), at=60).effects == (Wake(("right", 0)), Wake(("left", 0)))
    assert log.machine.next_deadline() is None


@pytest.mark.parametrize("room", ["attic", TICK_ROOM])
def test_time_passes_whatever_the_entry_says(room: str) -> None:
    log = GroupLog()
    log.apply("left", RingAt(50))
    applied = log.tick(50) if room == TICK_ROOM else log.apply(room, Add(1), at=50)
    assert applied.effects == (Wake(("left", 0)),)


def test_a_repeated_request_is_answered_from_memory() -> None:
    log = GroupLog()
    request = RequestId(SESSION, 7)
    first = log.apply("left", Add(2), at=5, request=request).reply
    again = log.apply("left", Add(2), at=9, request=request)
    assert again.reply == first == Total(2, 1, 5)
    assert (log.left.total, again.effects) == (2, ())


def test_time_passes_for_a_repeated_request_too() -> None:
    log = GroupLog()
    log.apply("left", Add(1), request=RequestId(SESSION, 1))
    log.apply("right", RingAt(50))
    assert log.apply("left", Add(1), at=50, request=RequestId(SESSION, 1)).effects == (Wake(("right", 0)),)


@pytest.mark.parametrize(("room", "number"), [("left", 13), ("attic", 1)])
def test_a_refusal_is_remembered_like_any_reply(room: str, number: int) -> None:
    log = GroupLog()
    first = log.apply(room, Add(number), request=RequestId(SESSION, 1)).reply
    assert isinstance(first, No | Refusal)
    assert log.apply("left", Add(1), request=RequestId(SESSION, 1)).reply == first
    assert log.left.total == 0


def test_requests_may_arrive_out_of_order_within_the_window() -> None:
    log = GroupLog()
    for number in (200, 73, 199):
        log.apply("left", Add(1), request=RequestId(SESSION, number))
    assert log.left.total == 3


def test_a_request_older_than_the_window_is_refused_and_not_carried_out() -> None:
    log = GroupLog()
    log.apply("left", Add(1), request=RequestId(SESSION, 200))
    reply = log.apply("left", Add(1), request=RequestId(SESSION, 72)).reply
    assert isinstance(reply, Refusal)
    assert reply.code == "InvalidArgument"
    assert "72" in reply.message
    assert "200" in reply.message
    assert log.left.total == 1


def test_replay_gives_what_was_answered_after_a_number() -> None:
    log = GroupLog()
    for number in (3, 1, 2):
        log.apply("left", Add(number), request=RequestId(SESSION, number))
    log.apply("left", Add(100), request=RequestId(b"another", 4))
    assert log.machine.replay(SESSION, 1) == [(2, Total(6, 3, 0)), (3, Total(3, 1, 0))]
    assert log.machine.replay(b"nobody", 0) == []


def test_a_question_goes_to_its_room_at_a_time_that_does_not_go_back() -> None:
    log = GroupLog()
    log.apply("left", Add(2), at=100)
    assert log.machine.query("left", "how many", WallMillis(40)) == ("how many", 2, 100)
    assert log.machine.query("left", "how many", WallMillis(140)) == ("how many", 2, 140)
    assert isinstance(log.machine.query("attic", "how many", WallMillis(0)), Refusal)


def test_live_entries_of_all_rooms_are_merged() -> None:
    log = GroupLog()
    for room in ("left", "right", "left"):
        log.apply(room, Add(1))
    log.tick(1)
    log.apply("right", Add(1))
    assert list(log.machine.live_entries()) == [(1, 3), (5, 5)]


def test_a_loaded_machine_goes_on_where_the_dump_was_made() -> None:
    log = GroupLog()
    log.apply("left", Add(2), at=5, request=RequestId(SESSION, 1))
    log.apply("attic", Add(2), at=5, request=RequestId(SESSION, 2))
    log.apply("right", RingAt(50), at=6)
    other = GroupLog()
    pieces = list(log.machine.dump())
    other.machine.load(pieces)
    other.index = log.index
    assert list(other.machine.dump()) == pieces
    assert (other.machine.now, other.machine.applied_index) == (6, 3)
    for each in (log, other):
        assert each.apply("left", Add(2), at=50, request=RequestId(SESSION, 1)) == Applied(
            Total(2, 1, 5), (Wake(("right", 0)),)
        )
        assert isinstance(each.apply("left", Add(2), request=RequestId(SESSION, 2)).reply, Refusal)
    assert list(other.machine.dump()) == list(log.machine.dump())


@pytest.mark.parametrize(
    "damage",
    [
        lambda pieces: [],
        lambda pieces: pieces[1:],
        lambda pieces: pieces[:-1],
        lambda pieces: [pieces[0], pieces[1][:-2], *pieces[2:]],
        lambda pieces: [pieces[0], *pieces[4:6], *pieces[1:4], pieces[-1]],
        lambda pieces: [b"\x00", *pieces[1:]],
    ],
    ids=["nothing", "no header", "truncated", "cut piece", "out of order", "no header but a piece"],
)
def test_a_damaged_dump_is_not_loaded(damage: Any) -> None:
    log = GroupLog()
    log.apply("left", Add(2), request=RequestId(SESSION, 1))
    with pytest.raises(ValueError):
        GroupLog().machine.load(damage(list(log.machine.dump())))


def test_a_dump_of_a_newer_version_or_of_other_rooms_is_not_loaded() -> None:
    pieces = list(GroupLog().machine.dump())
    version, *rest = msgspec.msgpack.decode(pieces[0])
    with pytest.raises(ValueError, match="version 2"):
        GroupLog().machine.load([msgspec.msgpack.encode((version + 1, *rest)), *pieces[1:]])
    with pytest.raises(ValueError, match="rooms"):
        ReplicatedMachine({"left": CountingRoom("left")}).load(pieces)


class LaterRoom(CountingRoom):
    """One that groups did not have once."""

    def load(self, pieces: Iterable[bytes]) -> None:
        found = list(pieces)
        super().load(found or CountingRoom("").dump())


def test_a_dump_of_before_a_room_was_there_leaves_it_empty() -> None:
    left, later = CountingRoom("left"), LaterRoom("later")
    old, new = ReplicatedMachine({"left": left}), ReplicatedMachine({"left": CountingRoom("left"), "later": later})
    left.total, later.total = 2, 7
    new.load(old.dump())
    assert later.total == 0
    assert new.query("left", "total", WallMillis(0)) == ("total", 2, 0)


def test_a_room_that_was_always_there_is_missed_in_a_dump() -> None:
    old = ReplicatedMachine({"left": CountingRoom("left")})
    with pytest.raises(ValueError):
        GroupLog().machine.load(old.dump())


def test_what_is_no_envelope_stops_the_replica() -> None:
    with pytest.raises(msgspec.MsgspecError):
        GroupLog().apply_data(b"\xc1")


def test_the_tick_has_no_room_of_its_own() -> None:
    with pytest.raises(ValueError, match="name"):
        ReplicatedMachine({TICK_ROOM: CountingRoom("")}, Sessions())

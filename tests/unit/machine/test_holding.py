"""Holding a group for a backup: what waits, what goes on, when it lapses, and what is captured."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broker.base.errors import Refusal
from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.machine import envelope, holding
from broker.machine.contract import Applied
from broker.machine.envelope import TICK_ROOM, Envelope, RequestId
from broker.machine.holding import LEASE, Captured, CaptureFor, Held, HoldFor, Release
from broker.machine.replicated import ReplicatedMachine
from tests.unit.machine.counting_room import Add, CountingRoom, Total

ONE, OTHER = b"one", b"other"
SESSION = b"0123456789abcdef"


class WaitingRoom(CountingRoom):
    """Adding waits while the group is held, ringing does not."""

    def waits(self, command: bytes | memoryview) -> bool:
        return bytes(command) == msgspec.msgpack.encode(Add(1))


class GroupLog:
    def __init__(self) -> None:
        self.machine = ReplicatedMachine({"room": WaitingRoom("room")})
        self.index = 0

    def apply(self, room: str, command: Any, at: int = 0, request: RequestId | None = None) -> Applied:
        self.index += 1
        raw = msgspec.Raw(msgspec.msgpack.encode(command))
        return self.machine.apply(envelope.encode(Envelope(WallMillis(at), room, request, raw)), Index(self.index))

    def hold(self, command: holding.Command, at: int = 0) -> Any:
        return self.apply(holding.ROOM, command, at).reply

    def held(self, at: int = 0) -> bool:
        return self.machine.query(holding.ROOM, None, WallMillis(at)) is not None


def code(reply: Any) -> str:
    assert isinstance(reply, Refusal)
    return reply.code


def test_what_crosses_groups_waits_until_the_release_and_all_else_goes_on() -> None:
    log = GroupLog()
    assert log.hold(HoldFor(ONE)) == Held(Index(1))
    assert code(log.apply("room", Add(1)).reply) == "Unavailable"
    assert log.apply("room", Add(5)).reply == Total(5, 3, 0)
    log.hold(Release(ONE))
    assert log.apply("room", Add(1)).reply == Total(6, 5, 0)


def test_a_hold_lapses_by_itself() -> None:
    log = GroupLog()
    log.hold(HoldFor(ONE), at=100)
    assert code(log.apply("room", Add(1), at=100 + LEASE).reply) == "Unavailable"
    assert log.held(100 + LEASE)
    assert not log.held(101 + LEASE)
    assert log.apply("room", Add(1), at=101 + LEASE).reply == Total(1, 3, 101 + LEASE)


def test_a_request_that_waited_is_carried_out_when_it_comes_again() -> None:
    log = GroupLog()
    log.hold(HoldFor(ONE))
    request = RequestId(SESSION, 1)
    assert code(log.apply("room", Add(1), request=request).reply) == "Unavailable"
    log.hold(Release(ONE))
    assert log.apply("room", Add(1), request=request).reply == Total(1, 4, 0)


def test_a_request_that_was_carried_out_before_is_answered_from_memory_meanwhile() -> None:
    log = GroupLog()
    request = RequestId(SESSION, 1)
    log.apply("room", Add(1), request=request)
    log.hold(HoldFor(ONE))
    assert log.apply("room", Add(1), request=request).reply == Total(1, 1, 0)


def test_two_backups_do_not_hold_at_once() -> None:
    log = GroupLog()
    log.hold(HoldFor(ONE))
    assert code(log.hold(HoldFor(OTHER), at=5)) == "BackupInProgress"
    log.hold(Release(OTHER))
    assert log.held()
    assert log.hold(HoldFor(OTHER), at=1 + LEASE) == Held(Index(4))


def test_a_hold_that_goes_on_began_when_it_began() -> None:
    log = GroupLog()
    log.hold(HoldFor(ONE), at=10)
    assert log.hold(HoldFor(ONE), at=LEASE) == Held(Index(1))
    assert log.held(at=2 * LEASE)


def test_a_capture_is_made_once_under_an_unbroken_hold() -> None:
    log = GroupLog()
    log.hold(HoldFor(ONE))
    first = log.apply(holding.ROOM, CaptureFor(ONE, Index(1)))
    assert (first.reply, first.capture) == (Captured(Index(2)), ONE)
    again = log.apply(holding.ROOM, CaptureFor(ONE, Index(1)))
    assert (again.reply, again.capture) == (Captured(Index(2)), b"")


@pytest.mark.parametrize("what", ["never held", "lapsed", "lapsed and held anew", "released", "another backup's"])
def test_without_one_nothing_is_captured(what: str) -> None:
    log = GroupLog()
    at = 0
    if what != "never held":
        log.hold(HoldFor(OTHER if what.startswith("another") else ONE))
    if what.startswith("lapsed"):
        at = 1 + LEASE
        log.apply(TICK_ROOM, None, at=at)
    if what.endswith("anew"):
        log.hold(HoldFor(ONE), at=at)
    if what == "released":
        log.hold(Release(ONE))
    refused = log.apply(holding.ROOM, CaptureFor(ONE, Index(1)), at=at)
    assert code(refused.reply) == "BackupExpired"
    assert refused.capture == b""


def test_a_hold_outlives_a_snapshot() -> None:
    log = GroupLog()
    log.hold(HoldFor(ONE))
    copy = ReplicatedMachine({"room": WaitingRoom("room")})
    copy.load(log.machine.dump())
    assert copy.query(holding.ROOM, None, WallMillis(0)) == log.machine.query(holding.ROOM, None, WallMillis(0))
    assert list(copy.dump()) == list(log.machine.dump())


def test_the_room_of_holds_is_taken() -> None:
    with pytest.raises(ValueError, match="hold"):
        ReplicatedMachine({holding.ROOM: CountingRoom("hold")})

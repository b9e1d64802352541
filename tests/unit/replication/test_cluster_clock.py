"""Some nodes in one room: their wall clocks are wrong by what a test says, and frames between them carry the time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from broker.base.ids import NodeId
from broker.base.instants import MINUTE, SECOND, Instant, Millis, WallMillis
from broker.base.trouble import Trouble
from broker.replication.cluster_clock import HEARD_FOR, LATELY, REPORT_EVERY, WRONG_BY, ClusterClock

EPOCH = 1_700_000_000_000
JUMP = 10 * MINUTE
NEAR = 50


class Machine:
    """Implements Clock. ``wrong``: of the wall clock, in milliseconds."""

    def __init__(self, room: Room, name: str, wrong: int) -> None:
        self.name = NodeId(name)
        self.wrong = wrong
        self.slept = 0
        self._room = room
        self._origin = 1_000 * len(room.machines)
        self.clock = ClusterClock(self)

    def monotonic(self) -> Millis:
        return Millis(self._origin + self._room.now - self.slept)

    def wall(self) -> WallMillis:
        return WallMillis(EPOCH + self._room.now + self.wrong)

    def restart(self) -> None:
        self.clock = ClusterClock(self)

    @property
    def ahead(self) -> int:
        """Of the true time."""
        return self.clock.wall() - EPOCH - self._room.now


class Room:
    def __init__(self, **wrong: int) -> None:
        self.now = 0
        self.machines: list[Machine] = []
        for name, by in wrong.items():
            self.machines.append(Machine(self, name, by))
        self.silent: set[str] = set()

    def __getitem__(self, name: str) -> Machine:
        (found,) = [machine for machine in self.machines if machine.name == name]
        return found

    def talk(self, duration: int, latency: int = 0) -> None:
        """All that are not silent hear one another every half second."""
        for _ in range(duration // REPORT_EVERY):
            said = [(one, one.clock.report()) for one in self.machines if one.name not in self.silent]
            self.now += latency
            for machine, report in said:
                for other in self.machines:
                    if other is not machine and other.name not in self.silent:
                        other.clock.heard(machine.name, report)
            for machine in self.machines:
                machine.clock.wall()
            self.now += REPORT_EVERY - latency

    def ahead(self) -> dict[str, int]:
        return {machine.name: machine.ahead for machine in self.machines}


def all_near(room: Room, by: int = 0) -> bool:
    return all(abs(ahead - by) <= NEAR for ahead in room.ahead().values())


def test_alone_a_node_goes_by_its_own_wall_clock():
    room = Room(a=0)
    room["a"].wrong = JUMP
    room.talk(2 * REPORT_EVERY)
    assert room.ahead() == {"a": JUMP}
    assert not room["a"].clock.settled


def test_the_monotonic_clock_is_the_machines_own():
    room = Room(a=0)
    before = room["a"].clock.instant()
    room["a"].wrong = JUMP
    room.now += 7
    assert room["a"].clock.instant() == Instant(Millis(before.now + 7), WallMillis(before.wall + 7))


@pytest.mark.parametrize("by", [JUMP, -JUMP])
@pytest.mark.parametrize("which", ["a", "b", "c"])
def test_a_clock_that_jumps_moves_nobodys_time(which: str, by: int):
    room = Room(a=0, b=0, c=0)
    room.talk(2 * SECOND)
    room[which].wrong = by
    for _ in range(20):
        room.talk(REPORT_EVERY)
        assert all_near(room)


@pytest.mark.parametrize("by", [JUMP, -JUMP])
def test_a_node_that_starts_with_a_wrong_clock_learns_the_time_from_the_first_that_knows_it(by: int):
    room = Room(a=0, b=0, c=by)
    room.silent = {"c"}
    room.talk(2 * SECOND)
    room.silent = {"b"}
    room["c"].clock.heard(NodeId("a"), room["a"].clock.report())
    assert abs(room["c"].ahead) <= NEAR
    room.talk(60 * SECOND)
    assert all_near(room)


@pytest.mark.parametrize("by", [JUMP, -JUMP])
def test_between_two_that_differ_the_one_that_fits_what_was_the_time_is_believed(by: int):
    room = Room(a=0, b=0, c=0)
    room.talk(2 * SECOND)
    room.silent = {"c"}
    room.talk(2 * HEARD_FOR)
    room["a"].wrong = by
    room.talk(5 * MINUTE)
    assert all_near(room)
    room["a"].wrong = 0
    room.talk(3 * SECOND)
    room["b"].wrong = by
    room.talk(5 * MINUTE)
    assert all_near(room)


def test_two_that_start_and_differ_take_the_lower_until_a_third_is_heard():
    room = Room(a=JUMP, b=0, c=0)
    room.silent = {"c"}
    room.talk(10 * SECOND)
    assert room["a"].ahead == room["b"].ahead == 0
    room["a"].wrong = -JUMP
    room.talk(10 * SECOND)
    assert room["a"].ahead == room["b"].ahead == -JUMP
    room.silent = set()
    room.talk(2 * SECOND)
    assert all_near(room)


def test_who_hears_nobody_goes_on_by_what_was_the_time():
    room = Room(a=0, b=0, c=0)
    room.talk(2 * SECOND)
    room.silent = {"a"}
    room["a"].wrong = JUMP
    room.talk(MINUTE)
    assert all_near(room)
    room.silent = {"c"}
    room.talk(MINUTE)
    assert all_near(room)


def test_who_hears_nobody_for_very_long_goes_by_its_own_clock():
    room = Room(a=0, b=0, c=0)
    room.talk(2 * SECOND)
    room.silent = {"a"}
    room["a"].wrong = JUMP
    room.talk(11 * MINUTE)
    assert room["a"].ahead == JUMP
    room.silent = {"c"}
    room.talk(2 * SECOND)
    assert abs(room["a"].ahead) <= NEAR, "and asks the others when it is back"


def test_a_cluster_that_was_asleep_follows_the_wall_clocks_at_once():
    room = Room(a=0, b=0, c=JUMP)
    room.talk(2 * SECOND)
    room.now += 60 * MINUTE
    for machine in room.machines:
        machine.slept = 60 * MINUTE
    room.talk(2 * REPORT_EVERY)
    assert all_near(room)


def test_a_cluster_that_was_stopped_follows_the_wall_clocks_at_once():
    room = Room(a=0, b=0, c=-JUMP)
    room.talk(2 * SECOND)
    room.now += 60 * MINUTE
    for machine in room.machines:
        machine.restart()
    room.talk(2 * REPORT_EVERY)
    assert all_near(room)


def test_small_differences_are_made_good_slowly():
    room = Room(a=0, b=0, c=0)
    room.talk(2 * SECOND)
    room["a"].wrong = room["b"].wrong = 200
    seen = []
    for _ in range(60):
        room.now += 100
        for one in room.machines:
            for other in room.machines:
                if one is not other:
                    other.clock.heard(one.name, one.clock.report())
        seen.append(room["c"].ahead)
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) <= 5
    assert seen[-1] == 200


def test_what_was_said_while_a_process_stood_still_is_not_heard():
    """A clock was wrong and has been set; its old words come with its new ones, and this node's own clock is wrong."""
    room = Room(a=0, b=JUMP, c=0)
    room.talk(2 * SECOND)
    late = room["b"].clock.report()
    room["b"].wrong = 0
    room["a"].wrong = 2 * JUMP
    room.now += 5_000
    for report in (late, room["b"].clock.report()):
        room["a"].clock.heard(NodeId("b"), report)
    assert abs(room["a"].ahead) <= NEAR
    room.silent = {"c"}
    room.talk(20 * SECOND)
    assert abs(room["a"].ahead) <= NEAR


def test_a_clock_that_was_set_is_believed_at_once():
    room = Room(a=0, b=JUMP, c=0)
    room.talk(2 * SECOND)
    room.silent = {"c"}
    room.talk(5 * SECOND)
    room["b"].wrong = 0
    room.talk(REPORT_EVERY)
    room["a"].wrong = JUMP
    room.talk(REPORT_EVERY)
    assert abs(room["a"].ahead) <= NEAR


def test_latency_makes_nobody_early():
    room = Room(a=0, b=0, c=JUMP)
    room.talk(10 * SECOND, latency=20)
    assert all(-20 <= ahead <= 0 for ahead in room.ahead().values()), room.ahead()


def test_who_waits_for_an_instant_is_told_when_time_moves():
    room = Room(a=0)
    clock = room["a"].clock
    assert not clock.moved()
    room.now += 1_000
    clock.instant()
    assert not clock.moved(), "time went on, as it does"
    room["a"].wrong = JUMP
    room.now += 1_000
    clock.instant()
    assert clock.moved()
    assert not clock.moved()


def test_a_peer_that_falls_silent_was_not_heard_lately_any_more():
    room = Room(a=0, b=0)
    heard_lately = room["a"].clock.heard_lately
    assert not heard_lately(NodeId("b"))
    room.talk(SECOND)
    assert heard_lately(NodeId("b"))
    room.silent = {"b"}
    room.talk(LATELY - REPORT_EVERY)
    assert heard_lately(NodeId("b"))
    room.talk(2 * REPORT_EVERY)
    assert not heard_lately(NodeId("b"))


def test_reports_are_due_at_their_pace():
    room = Room(a=0)
    clock = room["a"].clock
    assert clock.report_is_due()
    assert not clock.report_is_due()
    assert clock.next_deadline() == clock.monotonic() + REPORT_EVERY
    room.now += REPORT_EVERY
    assert clock.report_is_due()


@pytest.mark.parametrize(("by", "way"), [(JUMP, "600 s ahead of"), (-JUMP, "600 s behind")])
def test_a_wrong_clock_is_a_trouble_until_it_is_set(by: int, way: str):
    room, trouble = Room(a=by, b=0, c=0), Trouble()
    room["a"].clock.tell(trouble)
    assert not trouble.names, "nobody has contradicted it yet"
    room.talk(2 * SECOND)
    room["a"].clock.tell(trouble)
    assert way in trouble.sentences[0]
    assert room["a"].clock.error == by
    room["a"].wrong = WRONG_BY
    room.talk(2 * SECOND)
    room["a"].clock.tell(trouble)
    assert not trouble.names

from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.replication.waiting_room import WaitingRoom

GROUP = GroupId(1)
KEY = (GROUP, ("queue", 5))
OTHER_KEY = (GROUP, ("queue", 6))
ELSEWHERE = (GroupId(2), ("queue", 5))


def room_with(*tokens: int, deadline: int = 1_000) -> WaitingRoom:
    room = WaitingRoom()
    for token in tokens:
        room.wait(KEY, token, Millis(deadline))
    return room


def test_first_come_first_woken_and_only_as_many_as_there_is_to_find():
    room = room_with(3, 1, 2)
    assert room.woken(KEY, 2) == [3, 1]
    assert room.woken(KEY, 2) == [2]
    assert room.woken(KEY, 1) == []


def test_a_wake_concerns_its_key_only():
    room = room_with(1)
    room.wait(OTHER_KEY, 2, Millis(1_000))
    room.wait(ELSEWHERE, 3, Millis(1_000))
    assert room.woken(OTHER_KEY, 5) == [2]
    assert room.woken(KEY, 5) == [1]
    assert len(room) == 1


def test_one_who_left_is_not_woken():
    room = room_with(1, 2)
    room.leave(1)
    room.leave(1)
    assert room.woken(KEY, 2) == [2]


def test_waiters_whose_time_is_up_leave():
    room = room_with(1, deadline=100)
    room.wait(KEY, 2, Millis(400))
    assert room.wake(Millis(99)) == []
    assert room.wake(Millis(100)) == [1]
    assert room.woken(KEY, 2) == [2]
    assert len(room) == 0


def test_one_who_was_served_does_not_time_out_as_well():
    room = room_with(1, deadline=100)
    room.woken(KEY, 1)
    assert room.wake(Millis(1_000)) == []


def test_next_deadline_is_never_later_than_the_first_waiters():
    room = room_with(1, deadline=400)
    room.wait(KEY, 2, Millis(100))
    assert room.next_deadline() == 100


def test_a_lost_leader_sends_its_groups_waiters_away():
    room = room_with(1, 2)
    room.wait(ELSEWHERE, 3, Millis(1_000))
    assert room.close_group(GROUP) == [1, 2]
    assert room.woken(KEY, 2) == []
    assert room.woken(ELSEWHERE, 1) == [3]

"""When a disk takes no more messages, and when it does again."""

from __future__ import annotations

import pytest

from broker.replication.disk_room import DiskRoom, ReserveSettings, too_many_full

TOTAL = 1_000


def test_below_the_reserve_a_disk_is_full_and_a_fifth_above_it_no_more() -> None:
    room = DiskRoom(ReserveSettings(percent=5))
    verdicts = []
    for free in (51, 50, 49, 50, 59, 60, 55, 49):
        changed = room.judge(free, TOTAL)
        verdicts.append((free, room.full, changed))
    assert verdicts == [
        (51, False, False),
        (50, False, False),
        (49, True, True),
        (50, True, False),
        (59, True, False),
        (60, False, True),
        (55, False, False),
        (49, True, True),
    ]


def test_what_is_written_between_two_looks_counts_at_once() -> None:
    room = DiskRoom(ReserveSettings(percent=5))
    assert not room.written(1_000_000), "before the first look nothing is known"
    room.judge(100, TOTAL)
    assert [room.written(size) for size in (30, 20, 1, 20)] == [False, False, True, False]
    assert room.full
    assert room.judge(60, TOTAL), "the disk itself knows better"
    assert not room.full


def test_a_reserve_in_bytes_counts_where_it_is_more() -> None:
    room = DiskRoom(ReserveSettings(percent=5, least_bytes=200))
    room.judge(199, TOTAL)
    assert room.full
    assert room.reserve == 200


@pytest.mark.parametrize(
    ("voters", "full", "too_many"),
    [
        (1, 0, False),
        (1, 1, True),
        (3, 1, False),
        (3, 2, True),
        (4, 1, False),
        (4, 2, True),
        (5, 2, False),
        (5, 3, True),
    ],
)
def test_a_majority_must_have_room(voters: int, full: int, too_many: bool) -> None:
    assert too_many_full(voters, full) is too_many

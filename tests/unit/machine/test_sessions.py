"""Remembered requests: the window, the idle lifetime, the number of sessions, and dumps of them."""

from __future__ import annotations

import pytest

from broker.base.errors import InvalidArgument
from broker.machine.sessions import Sessions, encode


def test_the_window_is_counted_from_the_highest_number() -> None:
    sessions = Sessions(window=3)
    for number in (1, 2, 3, 4):
        sessions.remember(b"s", number, b"%d" % number, 0)
    assert sessions.after(b"s", 0) == [(2, b"2"), (3, b"3"), (4, b"4")]
    assert sessions.recall(b"s", 2) == b"2"
    assert sessions.recall(b"s", 5) is None
    with pytest.raises(InvalidArgument, match="too old"):
        sessions.recall(b"s", 1)


def test_a_leap_forgets_all_that_fell_out_of_the_window() -> None:
    sessions = Sessions(window=3)
    for number in (1, 2, 9, 8):
        sessions.remember(b"s", number, b"%d" % number, 0)
    assert sessions.after(b"s", 0) == [(8, b"8"), (9, b"9")]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 40])
def test_numbers_that_skip_some_leave_exactly_the_window(step: int) -> None:
    sessions = Sessions(window=8)
    given: list[int] = []
    for number in range(1, 200, step):
        for each in (number, number - 1):  # the second one late
            if each not in given and each > 0:
                given.append(each)
                sessions.remember(b"s", each, b"%d" % each, 0)
        highest = max(given)
        assert [found for found, _ in sessions.after(b"s", 0)] == sorted(each for each in given if each > highest - 8)


def test_an_idle_session_is_forgotten_and_a_used_one_is_not() -> None:
    sessions = Sessions(idle_lifetime=100)
    sessions.remember(b"idle", 1, b"", 0)
    sessions.remember(b"used", 1, b"", 0)
    sessions.remember(b"retried", 1, b"", 0)
    sessions.remember(b"used", 2, b"", 50)
    sessions.touch(b"retried", 50)
    sessions.expire(99)
    assert len(sessions) == 3
    sessions.expire(100)
    assert sessions.recall(b"idle", 1) is None
    assert sessions.recall(b"used", 1) == sessions.recall(b"retried", 1) == b""
    sessions.expire(150)
    assert len(sessions) == 0


def test_beyond_the_most_sessions_the_least_recently_used_goes() -> None:
    sessions = Sessions(most=2)
    for name in (b"first", b"second"):
        sessions.remember(name, 1, name, 0)
    sessions.touch(b"first", 1)
    sessions.remember(b"third", 1, b"third", 2)
    assert sessions.recall(b"second", 1) is None
    assert sessions.recall(b"first", 1) == b"first"


def test_beyond_the_most_bytes_the_least_recently_used_goes() -> None:
    sessions = Sessions(window=2, largest=10)
    for number in (1, 2, 3):  # what falls out of the window does not count
        sessions.remember(b"first", number, b"1234", 0)
    sessions.remember(b"second", 1, b"12", 1)
    assert sessions.recall(b"first", 3) == b"1234"

    sessions.remember(b"third", 1, b"1", 2)

    assert sessions.recall(b"first", 3) is None
    assert (sessions.recall(b"second", 1), sessions.recall(b"third", 1)) == (b"12", b"1")


def test_bytes_are_counted_alike_after_a_leap_a_second_reply_and_a_load() -> None:
    sessions = Sessions(window=2, largest=10)
    for number in (1, 2, 9):
        sessions.remember(b"first", number, b"1234", 0)
    sessions.remember(b"first", 9, b"123456", 0)
    loaded = Sessions(window=2, largest=10)
    loaded.load(encode(sessions.capture()))

    for each in (sessions, loaded):
        each.remember(b"second", 1, b"1234", 1)  # ten in all
        assert len(each) == 2
        each.remember(b"second", 2, b"1", 2)
        assert len(each) == 1


def test_one_session_alone_may_be_larger() -> None:
    sessions = Sessions(largest=10)
    sessions.remember(b"first", 1, b"x" * 50, 0)
    assert sessions.recall(b"first", 1) == b"x" * 50


def test_a_dump_carries_all_in_pieces_and_in_order_of_use() -> None:
    sessions = Sessions(most=3)
    for number in range(20):
        sessions.remember(b"large", number, bytes(10_000), number)
    sessions.remember(b"small", 1, b"reply", 30)
    sessions.remember(b"large", 20, b"last", 40)
    pieces = list(encode(sessions.capture()))
    assert max(map(len, pieces)) < 64 * 1024
    loaded = Sessions(most=2)
    loaded.load(pieces)
    assert list(encode(loaded.capture())) == pieces
    assert loaded.after(b"large", 18) == [(19, bytes(10_000)), (20, b"last")]
    loaded.remember(b"new", 1, b"", 50)
    assert loaded.recall(b"small", 1) is None, "it was the least recently used"


def test_what_was_captured_does_not_change() -> None:
    sessions = Sessions()
    sessions.remember(b"s", 1, b"1", 0)
    captured, expected = sessions.capture(), list(encode(sessions.capture()))
    sessions.remember(b"s", 2, b"2", 1)
    assert list(encode(captured)) == expected


def test_a_damaged_piece_is_not_loaded() -> None:
    with pytest.raises(ValueError, match="damaged"):
        Sessions().load([b"\xc1"])

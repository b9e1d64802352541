"""The window of sends, alone and before a server that stores a fixed number of bytes a millisecond."""

from __future__ import annotations

import random
from collections import deque

import pytest

from broker.base.instants import Millis
from broker.base.limits import KIB
from broker.services.shedding import SendWindow, WindowSettings

SETTINGS = WindowSettings(target=Millis(250), first=100_000, least=100, most=1_000_000)


class Server:
    """Stores in order, ``rate`` bytes a millisecond; each message has ``size`` bytes. ``took``: of those stored."""

    def __init__(self, window: SendWindow, rate: int, size: int) -> None:
        self.window = window
        self.rate = rate
        self.size = size
        self.waiting: deque[int] = deque()
        self.refused = 0
        self.took: list[int] = []
        self._left = 0

    def run(self, since: int, until: int, offered: float) -> None:
        """``offered``: times the rate."""
        owed = 0.0
        for now in range(since, until):
            owed += offered * self.rate / self.size
            while owed >= 1:
                owed -= 1
                if self.window.enter(self.size):
                    self.waiting.append(now)
                else:
                    self.refused += 1
            self._left = self._left + self.rate if self.waiting else 0
            while self.waiting and self._left >= self.size:
                self._left -= self.size
                began = self.waiting.popleft()
                self.took.append(now - began)
                self.window.leave(self.size, Millis(began), Millis(now), stored=True)


@pytest.mark.parametrize("rate", [10, 100, 1_000])
def test_at_three_times_what_is_possible_the_rest_is_refused_and_the_accepted_do_not_wait(rate: int) -> None:
    server = Server(SendWindow(SETTINGS), rate, size=10)
    server.run(0, 10_000, offered=3.0)
    server.took.clear()
    server.refused = 0
    server.run(10_000, 30_000, offered=3.0)

    possible = 20_000 * rate // server.size
    assert len(server.took) >= 0.95 * possible
    assert server.refused >= 1.9 * possible
    assert max(server.took) <= 2 * SETTINGS.target


def test_even_in_the_first_second_nobody_waits_for_long() -> None:
    server = Server(SendWindow(SETTINGS), rate=100, size=10)
    server.run(0, 1_000, offered=3.0)
    assert max(server.took) <= 1_000
    server.took.clear()
    server.run(1_000, 3_000, offered=3.0)
    assert max(server.took) <= 1_000


def test_what_is_possible_is_not_refused_after_a_storm_either() -> None:
    server = Server(SendWindow(SETTINGS), rate=100, size=10)
    server.run(0, 10_000, offered=0.9)
    assert server.refused == 0
    server.run(10_000, 20_000, offered=5.0)
    server.run(20_000, 23_000, offered=0.9)  # what the storm has left is done beside
    server.refused = 0
    server.took.clear()
    server.run(23_000, 40_000, offered=0.9)
    assert server.refused == 0
    assert max(server.took) <= 10


def test_a_server_that_becomes_faster_is_used() -> None:
    server = Server(SendWindow(SETTINGS), rate=10, size=10)
    server.run(0, 10_000, offered=3.0)
    server.rate = 1_000
    server.run(10_000, 15_000, offered=1.0)
    server.took.clear()
    server.run(15_000, 20_000, offered=1.0)
    assert len(server.took) >= 0.95 * 5_000 * 1_000 / 10


def test_one_is_always_let_in_whatever_its_size() -> None:
    window = SendWindow(SETTINGS)
    assert window.enter(10 * SETTINGS.most)
    assert not window.enter(1)
    window.leave(10 * SETTINGS.most, Millis(0), Millis(1), stored=True)
    assert window.enter(1)


def test_what_failed_says_nothing_about_how_fast_storing_goes() -> None:
    window = SendWindow(SETTINGS)
    window.enter(500)
    window.leave(500, Millis(0), Millis(5_000), stored=False)
    assert (window.size, window.on_its_way) == (SETTINGS.first, 0)


def test_one_pause_closes_the_window_once_and_not_for_each_send_that_waited() -> None:
    window = SendWindow(SETTINGS)
    for _ in range(100):
        assert window.enter(1_000)
    for _ in range(100):
        window.leave(1_000, Millis(0), Millis(1_000), stored=True)
    assert window.size == 25_000


def test_a_window_that_is_hardly_used_closes_by_half_and_opens_again_to_where_it_began() -> None:
    window = SendWindow(SETTINGS)
    window.enter(1_000)
    window.leave(1_000, Millis(0), Millis(900), stored=True)
    assert window.size == SETTINGS.first // 2
    for instant in range(1_000, 40_000, 1_000):
        window.enter(1_000)
        window.leave(1_000, Millis(instant), Millis(instant + 900), stored=True)
    assert SETTINGS.least <= window.size <= 2_000

    for instant in range(50_000, 60_000, 10):
        window.enter(100)
        window.leave(100, Millis(instant), Millis(instant + 5), stored=True)
    assert window.size == SETTINGS.first


def test_it_does_not_open_on_the_word_of_slow_sends() -> None:
    window = SendWindow(SETTINGS)
    window.enter(1_000)
    window.leave(1_000, Millis(0), Millis(900), stored=True)
    small = window.size
    for instant in range(1_000, 9_000, 200):
        window.enter(100)
        window.leave(100, Millis(instant), Millis(instant + 200), stored=True)
    assert window.size == small


def test_a_front_door_before_which_calls_wait_closes_the_window_once_in_a_while() -> None:
    window = SendWindow(SETTINGS)
    for _ in range(10):
        window.enter(10_000)
    window.close(Millis(150), Millis(1_000))
    window.close(Millis(150), Millis(1_100))
    assert window.size == 70_000
    window.close(Millis(150), Millis(1_300))
    assert window.size == 70_000, "so much is still on its way"
    for _ in range(6):
        window.leave(10_000, Millis(0), Millis(1_300), stored=True)
    window.close(Millis(400), Millis(1_600))
    assert window.size == 12_500
    window.leave(10_000, Millis(1_700), Millis(1_710), stored=True)
    assert window.size == 12_500, "not before calls have not waited for a while"
    window.enter(10_000)
    window.leave(10_000, Millis(2_200), Millis(2_210), stored=True)
    assert window.size > 12_500


def test_once_calls_do_not_wait_any_more_quick_sends_open_the_window_at_once() -> None:
    window = SendWindow(SETTINGS)
    window.close(Millis(900), Millis(1_000))
    small = window.size
    for _ in range(2):
        window.enter(small // 2)
    window.leave(small // 2, Millis(1_001), Millis(1_011), stored=True)
    assert window.size == small
    window.may_open()
    window.leave(small // 2, Millis(1_001), Millis(1_011), stored=True)
    assert window.size > small


def test_the_quicker_sends_are_the_more_the_window_opens() -> None:
    def opened_by(took: int) -> int:
        window = SendWindow(SETTINGS)
        window.enter(SETTINGS.first)
        window.leave(SETTINGS.first, Millis(0), Millis(took), stored=True)
        return window.size - SETTINGS.first

    assert [opened_by(took) for took in (0, 25, 100, 124, 125, 250)] == [100_000, 80_000, 20_000, 800, 0, 0]


def test_large_sends_that_come_unevenly_are_hardly_refused_once_a_storm_is_over() -> None:
    # given a window that a storm has closed as far as it goes
    settings, size = WindowSettings(), 204 * KIB
    window = SendWindow(settings)
    now = 0
    while window.size > settings.least:
        window.close(Millis(1_000), Millis(now))
        now += settings.target
    window.may_open()

    # when for a second sends of 100 KiB in 100 messages come at random, 50 of them, of which each takes 20 ms
    chance = random.Random(1)
    ends: deque[int] = deque()
    refused = 0
    for instant in sorted(now + chance.randrange(1_000) for _ in range(50)):
        while ends and ends[0] <= instant:
            window.leave(size, Millis(ends[0] - 20), Millis(ends.popleft()), stored=True)
        if window.enter(size):
            ends.append(instant + 20)
        else:
            refused += 1

    # then as good as none is refused: each that is quick makes room for another one
    assert refused <= 2

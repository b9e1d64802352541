"""Pauses of a loop: how late a tick came, and whose fault that was."""

from __future__ import annotations

from loadtest.watched import PAUSE_MS, TICK_SECONDS, Pause, Watch, Watched, pause_figure, waited_in

TICK = round(TICK_SECONDS * 1_000_000)
MILLISECOND = 1_000_000
"""In nanoseconds."""


def test_a_tick_in_time_is_no_pause() -> None:
    watch = Watch()
    watch.begin(1_000, 0, 0)
    watch.tick(1_000 + TICK, 0, 0)
    assert watch.longest == [Pause(0.0, 0.0, 0.0, TICK / 1_000)]


def test_waiting_for_a_processor_is_not_the_nodes_own_pause() -> None:
    # given a tick that comes 80 ms late, of which the thread waited 60 ms for a processor
    watch = Watch()
    watch.begin(0, 5 * MILLISECOND, 7 * MILLISECOND)
    watch.tick(TICK + 80_000, 65 * MILLISECOND, 22 * MILLISECOND)
    # then 20 ms are its own, in which the process used 15 ms
    assert watch.longest == [Pause(20.0, 80.0, 15.0, 80.0 + TICK / 1_000)]


def test_what_was_before_the_watch_began_does_not_count() -> None:
    watch = Watch()
    watch.begin(0, 0, 0)
    watch.tick(TICK + 500_000, 0, 0)
    watch.begin(1_000_000, 0, 0)
    assert watch.longest == []


def test_the_longest_of_many_pauses_are_kept() -> None:
    watch = Watch()
    watch.begin(0, 0, 0)
    now = 0
    for late in range(100):
        now += TICK + late * 1_000
        watch.tick(now, 0, 0)
    assert min(watch.longest).own == 80.0
    assert max(watch.longest).own == 99.0


def test_the_wait_is_the_second_number_of_the_scheduler() -> None:
    assert waited_in(b"211512378 788379288 17\n") == 788_379_288


def test_the_figure_is_the_longest_own_pause_of_all_nodes() -> None:
    # given a node that stood still itself, and one that was kept waiting for longer
    watched = Watched()
    watched.longest = {"a-0": [Pause(2.0, 300.0, 2.0, 0.0)], "b-0": [Pause(60.0, 61.0, 58.0, 0.0)], "c-0": []}
    # then the first one counts
    figure = pause_figure("queues are made", watched, "with 12 snapshots")
    assert (figure.value, figure.target) == (60.0, PAUSE_MS)
    assert figure.detail.startswith("of b-0")
    assert figure.detail.endswith("with 12 snapshots")

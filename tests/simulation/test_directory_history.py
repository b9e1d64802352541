"""The checker of the directory by itself: histories told by hand, that one copy could have answered so, or not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.checkers.directory_history import (
    ACTIVE,
    CREATING,
    DELETING,
    DONE,
    REFUSED,
    DirectoryHistory,
)
from tests.simulation.checkers.log_time import EARLY, LATE, LogTime
from tests.simulation.checkers.violation import Violation

MADE, FOUND, NOTHING = ("placed", 1, True), ("placed", 1, False), (None,)


class Told(DirectoryHistory):
    def call(self, kind: str, began: int, ended: int | None, told: tuple[Any, ...] | None, identity: int = 1) -> None:
        """``ended`` None: nobody knows what came of it."""
        call = self.began("orders", kind, began, identity)
        if ended is not None:
            call.ended, call.told = ended, told


def one_after_the_other(*calls: tuple[Any, ...]) -> Told:
    history = Told()
    for number, (kind, told, *identity) in enumerate(calls):
        history.call(kind, 10 * number, 10 * number + 5, told, *identity)
    return history


def test_a_life_from_beginning_to_end():
    one_after_the_other(
        ("find", NOTHING),
        ("place", MADE),
        ("find", ((1, CREATING),)),
        ("place", FOUND),
        ("activate", DONE),
        ("find", ((1, ACTIVE),)),
        ("forget", REFUSED),
        ("retire", DONE),
        ("find", NOTHING),
        ("place", REFUSED),
        ("activate", REFUSED),
        ("forget", DONE),
        ("forget", DONE),
        ("retire", REFUSED),
        ("place", ("placed", 2, True)),
        ("retire", REFUSED, 1),
    ).judge()


@pytest.mark.parametrize(
    "calls",
    [
        [("find", ((1, CREATING),))],
        [("place", FOUND)],
        [("place", MADE), ("find", NOTHING)],
        [("place", MADE), ("place", ("placed", 2, True))],
        [("place", MADE), ("activate", DONE), ("find", ((1, CREATING),))],
        [("place", MADE), ("retire", DONE), ("find", ((1, DELETING),))],
        [("place", MADE), ("retire", DONE), ("place", FOUND)],
        [("place", MADE), ("forget", DONE)],
        [("place", MADE), ("retire", DONE), ("forget", DONE), ("retire", DONE)],
    ],
)
def test_what_no_single_copy_would_answer(calls: list[tuple[Any, ...]]):
    with pytest.raises(Violation, match="linearizable"):
        one_after_the_other(*calls).judge()


def test_calls_that_overlap_may_have_happened_in_either_order():
    for found in (NOTHING, ((1, CREATING),)):
        history = Told()
        history.call("place", 0, 10, MADE)
        history.call("find", 5, 15, found)
        history.judge()


def test_but_not_in_both():
    history = Told()
    history.call("place", 0, 100, MADE)
    history.call("find", 5, 15, ((1, CREATING),))
    history.call("find", 20, 30, NOTHING)
    with pytest.raises(Violation):
        history.judge()


def test_a_call_of_unknown_outcome_may_happen_at_any_time_later_or_never():
    for later in (NOTHING, ((7, CREATING),)):
        history = Told()
        history.call("place", 0, None, None)
        history.call("find", 50, 60, NOTHING)
        history.call("find", 70, 80, later)
        history.judge()


def test_but_only_once():
    history = Told()
    history.call("place", 0, None, None)
    history.call("find", 50, 60, ((7, CREATING),))
    history.call("find", 70, 80, ((8, CREATING),))
    with pytest.raises(Violation):
        history.judge()


def test_names_are_judged_each_by_itself():
    history = Told()
    history.call("place", 0, 10, MADE)
    other = history.began("others", "find", 20)
    other.ended, other.told = 30, NOTHING
    history.judge()


# --- log time


@pytest.mark.parametrize(("ahead", "fits"), [(-1_000_000, True), (0, True), (EARLY, True), (EARLY + 1, False)])
def test_no_entry_is_stamped_ahead_of_time(ahead: int, fits: bool):
    times = LogTime(lambda: 5_000_000)
    if fits:
        times.stamped(1, 1, 5_000_000 + ahead)
    else:
        with pytest.raises(Violation, match="log time"):
            times.stamped(1, 1, 5_000_000 + ahead)


@pytest.mark.parametrize(("ahead", "fits"), [(-LATE - 1, False), (-LATE, True), (EARLY, True), (EARLY + 1, False)])
def test_in_the_end_every_node_knows_the_time(ahead: int, fits: bool):
    times = LogTime(lambda: 5_000_000)
    if fits:
        times.believed("a-0", 5_000_000 + ahead)
    else:
        with pytest.raises(Violation, match="log time"):
            times.believed("a-0", 5_000_000 + ahead)


def test_where_several_clocks_are_wrong_nothing_is_promised():
    times = LogTime()
    times.stamped(1, 1, 1 << 60)
    times.believed("a-0", 0)

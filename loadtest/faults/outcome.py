"""What became of one cell, as reports show it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from loadtest.faults.history import History, Mark
from loadtest.faults.matrix import Cell
from loadtest.faults.verdict import Verdict

STEP_SECONDS = 0.25

State = Literal["kept", "doubtful", "broken"]


class Timeline(msgspec.Struct, frozen=True):
    """Per STEP_SECONDS from the beginning: messages (or answers) acknowledged, and messages delivered."""

    acknowledged: tuple[int, ...]
    delivered: tuple[int, ...]
    marks: tuple[tuple[str, float], ...]


class Outcome(msgspec.Struct, frozen=True):
    """``whole_after``: seconds from the fault's end until the cluster was whole; None: it was not, and ``lacked`` says
    what it lacked. ``notes``, ``doubts``: as in Scene. ``trouble``: why the cell did not run to its end."""

    fault: str
    workload: str
    verdict: Verdict
    timeline: Timeline
    whole_after: float | None
    lacked: str
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    trouble: str
    drained: bool
    seconds: float

    @property
    def cell(self) -> Cell:
        return Cell(self.fault, self.workload)

    @property
    def state(self) -> State:
        """Broken: a promise about messages. Doubtful: service or cluster did not come back as they should."""
        if not self.verdict.kept:
            return "broken"
        return "doubtful" if self.doubts or self.trouble or not self.drained or self.whole_after is None else "kept"


def timeline_of(history: History) -> Timeline:
    answers = [at for instants in history.answers.values() for at in instants]
    acknowledged = [stored.at for stored in history.stored]
    return Timeline(
        _steps([*acknowledged, *answers]),
        _steps(delivery.at for delivery in history.deliveries),
        tuple((mark.what, mark.at) for mark in history.marks),
    )


def instant_of(what: str, marks: Sequence[Mark]) -> float | None:
    return next((mark.at for mark in marks if mark.what == what), None)


def _steps(instants: Iterable[float]) -> tuple[int, ...]:
    counts: dict[int, int] = {}
    for at in instants:
        step = int(at / STEP_SECONDS)
        counts[step] = counts.get(step, 0) + 1
    return tuple(counts.get(step, 0) for step in range(max(counts, default=-1) + 1))


def worst_by_cell(outcomes: Iterable[Outcome]) -> dict[Cell, Outcome]:
    """Of a cell that ran more than once, the run that went worst; the later of equals."""
    worst: dict[Cell, Outcome] = {}
    for outcome in outcomes:
        known = worst.get(outcome.cell)
        if known is None or _BADNESS[outcome.state] >= _BADNESS[known.state]:
            worst[outcome.cell] = outcome
    return worst


_BADNESS: dict[State, int] = {"kept": 0, "doubtful": 1, "broken": 2}

"""A run as text: a line for each cell as it ends, and at the end the matrix and the table of all cells."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from loadtest.faults.outcome import Outcome, State, worst_by_cell
from loadtest.faults.verdict import Verdict

COLOURS: dict[State, str] = {"kept": "green", "doubtful": "yellow", "broken": "red"}
COLUMNS = ("acked", "lost", "twice", "back", "early", "disorder", "again", "unsure", "send gap", "recv gap", "whole")
"""What ``cells_of`` tells of a cell, after its names."""
_WIDTH = 200


class Setting(msgspec.Struct, frozen=True):
    """What a run ran on."""

    command: str
    began: str
    machine: str
    network: str
    version: str


def line_of(outcome: Outcome) -> str:
    """With rich's markup."""
    verdict = outcome.verdict
    whole = "not whole" if outcome.whole_after is None else f"whole after {outcome.whole_after:.1f} s"
    return (
        f"[{COLOURS[outcome.state]}]{outcome.state:<8}[/] {outcome.fault:<14} {outcome.workload:<13} "
        f"{verdict.acknowledged:>6,} acknowledged, {broken_promises(verdict) or 'all kept'}; "
        f"gaps {verdict.send_gap:.1f} / {verdict.receive_gap:.1f} s; {whole}"
        + "".join(f"\n         {remark}" for remark in remarks_of(outcome))
    )


def broken_promises(verdict: Verdict) -> str:
    """Empty when all were kept."""
    found = {
        "lost": verdict.lost,
        "missing": verdict.missing,
        "stored twice": verdict.stored_twice,
        "back after delete": verdict.back,
        "early": verdict.early,
        "out of order": verdict.out_of_order,
        "changed": verdict.changed,
    }
    return ", ".join(f"{count:,} {what}" for what, count in found.items() if count)


def remarks_of(outcome: Outcome) -> list[str]:
    lacked = [f"still lacked {outcome.lacked}"] if outcome.whole_after is None else []
    undrained = [] if outcome.drained else ["the queue was not drained in time"]
    trouble = [outcome.trouble] if outcome.trouble else []
    return [*trouble, *outcome.doubts, *lacked, *undrained, *outcome.verdict.examples, *outcome.notes]


def matrix_rows(outcomes: Iterable[Outcome]) -> tuple[list[str], list[tuple[str, list[Outcome | None]]]]:
    """Workloads, and for each fault what became of it with each of them."""
    worst = worst_by_cell(outcomes)
    workloads = list(dict.fromkeys(cell.workload for cell in worst))
    faults = list(dict.fromkeys(cell.fault for cell in worst))
    by_names = {(cell.fault, cell.workload): outcome for cell, outcome in worst.items()}
    return workloads, [(fault, [by_names.get((fault, each)) for each in workloads]) for fault in faults]


def summary_of(outcomes: Sequence[Outcome]) -> str:
    states = [outcome.state for outcome in outcomes]
    total = sum(outcome.verdict.acknowledged for outcome in outcomes)
    lost = sum(outcome.verdict.lost + outcome.verdict.missing for outcome in outcomes)
    disorder = sum(outcome.verdict.out_of_order for outcome in outcomes)
    return (
        f"{len(outcomes)} cells: {states.count('kept')} kept, {states.count('doubtful')} doubtful, "
        f"{states.count('broken')} broken; {total:,} messages acknowledged, {lost:,} lost, {disorder:,} out of order"
    )


def text_of(outcomes: Sequence[Outcome], setting: Setting) -> str:
    """Without colours, for a file."""
    written = io.StringIO()
    console = Console(file=written, width=_WIDTH, no_color=True, highlight=False)
    for name in setting.__struct_fields__:
        console.print(f"{name:<8} {getattr(setting, name)}", soft_wrap=True)
    console.print()
    console.print(summary_of(outcomes))
    console.print()
    console.print(_matrix(outcomes))
    console.print()
    console.print(_details(outcomes))
    for outcome in outcomes:
        for remark in remarks_of(outcome):
            console.print(f"{outcome.fault} x {outcome.workload}: {remark}", soft_wrap=True, markup=False)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _matrix(outcomes: Sequence[Outcome]) -> Table:
    workloads, rows = matrix_rows(outcomes)
    table = Table("fault", *workloads, box=None, pad_edge=False)
    for fault, found in rows:
        table.add_row(fault, *("-" if outcome is None else outcome.state for outcome in found))
    return table


def _details(outcomes: Sequence[Outcome]) -> Table:
    table = Table("fault", "workload", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("errors that clients saw")
    for outcome in outcomes:
        table.add_row(*cells_of(outcome), errors_of(outcome.verdict))
    return table


def cells_of(outcome: Outcome) -> list[str]:
    """Of the table, up to the errors."""
    verdict = outcome.verdict
    counts = (
        verdict.acknowledged,
        verdict.lost + verdict.missing,
        verdict.stored_twice,
        verdict.back,
        verdict.early,
        verdict.out_of_order,
        verdict.again,
        verdict.unsure,
    )
    return [
        outcome.fault,
        outcome.workload,
        *(f"{count:,}" for count in counts),
        f"{verdict.send_gap:.2f}",
        f"{verdict.receive_gap:.2f}",
        "no" if outcome.whole_after is None else f"{outcome.whole_after:.1f}",
    ]


def errors_of(verdict: Verdict) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(verdict.errors.items())) or "none"

"""A run as a section of the operator's documentation: what it ran on, the matrix, and every figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadtest.faults.outcome import Outcome
from loadtest.faults.report import COLUMNS, Setting, cells_of, errors_of, matrix_rows, remarks_of, summary_of

HEADING = "## The last run"


def recorded(page: str, section: str) -> str:
    """The page with the section in the place of the one before, under its heading at the page's end."""
    before, _, _ = page.partition(HEADING)
    return f"{before.rstrip()}\n\n{HEADING}\n\n{section}"


def section_of(outcomes: Sequence[Outcome], setting: Setting) -> str:
    """In the matrix: the state, and the longest gaps of sends and receives in seconds."""
    workloads, rows = matrix_rows(outcomes)
    figures = [[*cells_of(outcome), errors_of(outcome.verdict)] for outcome in outcomes]
    unkept = [outcome for outcome in outcomes if outcome.state != "kept"]
    parts = [
        "\n".join(f"- {name}: {_plain(getattr(setting, name))}" for name in setting.__struct_fields__),
        summary_of(outcomes) + ".",
        _table(["fault", *workloads], [[fault, *map(_cell, found)] for fault, found in rows]),
        _table(["fault", "workload", *COLUMNS, "errors"], figures),
    ]
    if unkept:
        parts.append(
            "\n".join(
                f"- {outcome.fault} x {outcome.workload}, {outcome.state}: {_plain('; '.join(remarks_of(outcome)))}"
                for outcome in unkept
            )
        )
    return "\n\n".join(parts) + "\n"


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    gaps = f"{outcome.verdict.send_gap:.1f} / {outcome.verdict.receive_gap:.1f}"
    return gaps if outcome.state == "kept" else f"**{outcome.state}** {gaps}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

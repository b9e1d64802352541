"""Which cells (a fault and a workload) a run has, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    fault: str
    workload: str


class UnknownName(Exception):
    """Neither a fault nor a workload; the message lists both."""


def select(
    faults: Sequence[str], workloads: Sequence[str], only: Iterable[str], when_named: Collection[str] = ()
) -> list[Cell]:
    """``only``: names of faults and workloads in any mix; none of a kind means all of it, but for the faults in
    ``when_named``. Raises UnknownName.

    The first round meets every fault once and every workload about as often as any other, so that a run that ends
    early has seen the breadth of both.
    """
    wanted = [name for name in only if name]
    unknown = [name for name in wanted if name not in faults and name not in workloads]
    if unknown:
        raise UnknownName(
            f"{', '.join(unknown)}: no such fault or workload; faults are {', '.join(faults)}; workloads are "
            f"{', '.join(workloads)}"
        )
    rows = [name for name in faults if name in wanted] or [name for name in faults if name not in when_named]
    columns = [name for name in workloads if name in wanted] or list(workloads)
    return [
        Cell(fault, columns[(place + turn) % len(columns)])
        for turn in range(len(columns))
        for place, fault in enumerate(rows)
    ]


def rows_of(cells: Iterable[Cell], *, together: bool) -> list[list[Cell]]:
    """What runs at once: one cell, or all of a fault."""
    if not together:
        return [[cell] for cell in cells]
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.fault, []).append(cell)
    return list(rows.values())

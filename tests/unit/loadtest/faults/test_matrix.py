"""Which cells a run has, and in which order."""

from __future__ import annotations

from collections import Counter

import pytest

from loadtest.faults.catalogue import FAULTS
from loadtest.faults.matrix import Cell, UnknownName, rows_of, select
from loadtest.faults.workloads import PLANS

ROWS, COLUMNS = ["cut", "kill", "slow"], ["standard", "fifo"]


def test_every_cell_once_and_every_fault_in_the_first_round() -> None:
    cells = select(ROWS, COLUMNS, [])
    assert Counter(cells) == Counter(Cell(row, column) for row in ROWS for column in COLUMNS)
    assert [cell.fault for cell in cells[: len(ROWS)]] == ROWS
    assert {cell.workload for cell in cells[: len(ROWS)]} == set(COLUMNS)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["kill", "fifo"], {("kill", "fifo")}),
        (["kill"], {("kill", "standard"), ("kill", "fifo")}),
        (["fifo", ""], {("cut", "fifo"), ("kill", "fifo"), ("slow", "fifo")}),
        (["cut", "kill", "standard"], {("cut", "standard"), ("kill", "standard")}),
    ],
)
def test_names_of_a_kind_leave_out_the_others_of_that_kind(only: list[str], expected: set[tuple[str, str]]) -> None:
    assert set(select(ROWS, COLUMNS, only)) == expected


def test_some_faults_only_run_when_they_are_named() -> None:
    assert {cell.fault for cell in select(ROWS, COLUMNS, ["fifo"], {"cut"})} == {"kill", "slow"}
    assert {cell.fault for cell in select(ROWS, COLUMNS, ["cut"], {"cut"})} == {"cut"}


def test_a_name_that_is_neither_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"kil: no such .* cut, kill, slow.*standard, fifo"):
        select(ROWS, COLUMNS, ["kil"])


def test_no_name_is_both_a_fault_and_a_workload() -> None:
    assert not set(FAULTS) & set(PLANS)


def test_the_cells_of_a_fault_run_one_by_one_or_together() -> None:
    cells = select(["cut", "kill"], ["fifo", "idle"], [])

    alone, together = rows_of(cells, together=False), rows_of(cells, together=True)

    assert alone == [[cell] for cell in cells]
    assert sorted(sorted(row) for row in together) == [
        [Cell("cut", "fifo"), Cell("cut", "idle")],
        [Cell("kill", "fifo"), Cell("kill", "idle")],
    ]

"""Cells with real nodes: what a sound broker keeps is found kept, and what none can keep is found broken."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.faults.battery import Battery
from loadtest.faults.loopback import LoopbackNetwork
from loadtest.faults.matrix import Cell
from loadtest.faults.outcome import Outcome
from loadtest.faults.zones import SEEN_PORTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("faults"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs more loopback addresses than others have"),
]


async def outcome_of(cell: Cell, out: Path) -> Outcome:
    battery = Battery(lambda: LoopbackNetwork(SEEN_PORTS), out, Console(file=io.StringIO()))
    await battery.run([[cell]], seconds=1)
    (outcome,) = battery.outcomes
    return outcome


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_zone_that_is_cut_off_costs_nothing(tmp_path: Path) -> None:
    outcome = await outcome_of(Cell("cut-zones", "fifo"), tmp_path)
    assert outcome.verdict.kept, outcome.verdict.examples
    assert outcome.verdict.acknowledged > 0
    assert outcome.drained
    assert names(tmp_path) == []


async def test_disks_that_lie_are_found_out(tmp_path: Path) -> None:
    outcome = await outcome_of(Cell("lying-disks", "fifo"), tmp_path)
    assert outcome.state == "broken"
    assert outcome.verdict.lost + outcome.verdict.missing > 0
    # and what there is to look into is kept
    place = "001-lying-disks-fifo"
    assert names(tmp_path) == [f"{place}/{name}" for name in ("a-0.log", "b-0.log", "c-0.log", "history.json")]

"""A figure is met when it is not above its target."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.figures import Figure, more_than, table


def test_a_figure_at_its_target_is_met_and_one_above_is_missed() -> None:
    assert Figure("restart", 15.0, 15.0, "s").met
    assert not Figure("restart", 15.1, 15.0, "s").met


def test_the_table_says_what_was_met_and_what_was_missed() -> None:
    written = io.StringIO()
    figures = [Figure("restart", 4.2, 15.0, "s", "1.4 s of CPU"), Figure("purge", 1.3, 1.0, "s")]
    Console(file=written, width=100).print(table("A backlog", "three nodes", figures))
    lines = written.getvalue().splitlines()
    assert "4.2 s" in next(line for line in lines if "restart" in line)
    assert "met" in next(line for line in lines if "restart" in line)
    assert any("1.4 s of CPU" in line for line in lines)
    assert "missed" in next(line for line in lines if "purge" in line)


def test_more_is_told_in_percent_and_less_is_negative() -> None:
    assert more_than(20.0, 25.0) == pytest.approx(25.0)
    assert more_than(20.0, 15.0) == pytest.approx(-25.0)

"""The demonstration's text and how its lines are numbered."""

from __future__ import annotations

from loadtest.demo import numbered, split
from loadtest.lines import take_lines


def test_lines_are_the_same_each_time_and_as_many_as_asked() -> None:
    lines = take_lines(5_000)
    assert len(lines) == 5_000
    assert lines == take_lines(5_000)
    assert any(line.startswith(b"import ") for line in lines)


def test_a_numbered_line_comes_apart_again() -> None:
    assert split(numbered(12, b"  x = 1 ")) == (12, b"  x = 1 ")
    assert split(numbered(0, b"")) == (0, b"")

"""What is printed: durations and bars as a person reads them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.latency import Bucket
from loadtest.report import bar, cpu_table, duration, latency_picture, verdict_table
from loadtest.verifier import Verifier


@pytest.mark.parametrize(
    ("micros", "text"),
    [(7, "7 us"), (999, "999 us"), (1_520, "1.52 ms"), (250_000, "250 ms"), (12_300_000, "12.3 s")],
)
def test_durations_are_short(micros: int, text: str) -> None:
    assert duration(micros) == text


def test_a_bar_shows_even_the_smallest_share() -> None:
    assert bar(0) == ""
    assert bar(0.0001) == "▏"
    assert bar(0.5, width=4) == "██"
    assert bar(1, width=4) == "████"


def test_tables_carry_the_numbers() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120)
    verifier = Verifier(producers=1)
    verifier.sent(0, 0)
    verifier.confirmed(0, 0)
    console.print(cpu_table({"a-0": 3_000_000, "b-0": 1_000_000}, 100_000))
    console.print(latency_picture("confirmed", [Bucket(100, 200, 30), Bucket(200, 500, 15)]))
    console.print(verdict_table(verifier.verdict(), {"changed": "0"}))
    text = out.getvalue()
    for expected in ("40.0", "30.0", "100 us - 200 us", "lost", "changed"):
        assert expected in text

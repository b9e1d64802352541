"""What a measurement found, beside what it should be: a table with a verdict a line."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec
from rich.table import Table


class Figure(msgspec.Struct, frozen=True):
    """``value`` and ``target`` in ``unit``; smaller is better. ``detail``: what else there is to say."""

    name: str
    value: float
    target: float
    unit: str
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.value <= self.target


def table(title: str, what: str, figures: Iterable[Figure]) -> Table:
    """``what`` stands above the names of the figures."""
    made = Table(title=title, title_justify="left")
    for name in (what, "measured", "target", ""):
        made.add_column(name, justify="right" if name in {"measured", "target"} else "left")
    for figure in figures:
        verdict = "[green]met[/]" if figure.met else "[red]missed[/]"
        name = f"{figure.name}\n[dim]{figure.detail}[/]" if figure.detail else figure.name
        made.add_row(name, f"{figure.value:.3g} {figure.unit}", f"<= {figure.target:g} {figure.unit}", verdict)
    return made


def more_than(before: float, after: float) -> float:
    """By how many percent ``after`` is more than ``before``; below 0 when it is less."""
    return (after / before - 1) * 100


def load_average() -> str:
    """Of the last minute, and how many processors share it: a figure taken on a busy machine says less."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"

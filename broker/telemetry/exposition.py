"""The text that Prometheus reads, version 0.0.4 of its exposition format: written from copied numbers, in any thread.

Written by hand because ``prometheus_client`` takes ten times as long for the same text, and the event loop has to share
the interpreter with whoever writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]


class Series(msgspec.Struct, frozen=True):
    """The numbers of one name at one instant. ``name`` without ``_total``; ``scale`` is how many of the counted units
    make one of the exported unit. ``buckets``: labels, bounds, counts (one more than bounds), and the sum of all."""

    name: str
    description: str
    kind: Kind
    label_names: Labels
    scale: int
    values: list[tuple[Labels, float]]
    buckets: list[tuple[Labels, tuple[int, ...], list[int], int]]


def write(families: Sequence[Series]) -> bytes:
    return "".join([line for family in families for line in _lines(family)]).encode()


def _lines(family: Series) -> Iterator[str]:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    yield f"# HELP {name} {_escaped(family.description, quotes=False)}\n# TYPE {name} {family.kind}\n"
    if len(family.label_names) == 1:
        head = f'{name}{{{family.label_names[0]}="'
        for (label,), value in family.values:
            yield f'{head}{_escaped(label)}"}} {value}\n'
    else:
        for labels, value in family.values:
            yield f"{name}{_braced(family.label_names, labels)} {value}\n"
    for labels, bounds, counts, total in family.buckets:
        yield from _histogram_lines(family, labels, bounds, counts, total)


def _histogram_lines(
    family: Series, labels: Labels, bounds: tuple[int, ...], counts: list[int], total: int
) -> Iterator[str]:
    names = (*family.label_names, "le")
    cumulative = 0
    for bound, count in zip(bounds, counts[:-1], strict=True):
        cumulative += count
        yield f"{family.name}_bucket{_braced(names, (*labels, str(bound / family.scale)))} {cumulative}\n"
    cumulative += counts[-1]
    own = _braced(family.label_names, labels)
    yield f"{family.name}_bucket{_braced(names, (*labels, '+Inf'))} {cumulative}\n"
    yield f"{family.name}_count{own} {cumulative}\n{family.name}_sum{own} {total / family.scale}\n"


def _braced(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, quotes: bool = True) -> str:
    if "\\" in text:
        text = text.replace("\\", r"\\")
    if "\n" in text:
        text = text.replace("\n", r"\n")
    if quotes and '"' in text:
        text = text.replace('"', r"\"")
    return text

"""Bars in a terminal: one number, or several beside one another, drawn with blocks to an eighth of a character."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

_EIGHTHS = " ▏▎▍▌▋▊▉█"
"""The k-th fills k eighths."""


def bar(count: int, most: int, width: int, style: str) -> Text:
    """``count`` of ``most``, which fills ``width`` characters. What is not nothing is seen."""
    if count <= 0 or most <= 0:
        return Text("")
    eighths = max(1, round(min(count, most) / most * width * 8))
    return Text("█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else ""), style=style)


def stacked(counts: Sequence[int], most: int, width: int, blocks: Sequence[tuple[str, str]]) -> Text:
    """Several counts in one bar, each with a (character, style) of its own: they differ without colours, too."""
    drawn = Text()
    for count, (block, style) in zip(counts, blocks, strict=True):
        if count > 0 and most > 0:
            drawn.append(block * max(1, round(count / most * width)), style=style)
    return drawn

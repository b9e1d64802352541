"""Real text that is on every machine: the lines of Python's own standard library."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from itertools import chain, islice, repeat
from pathlib import Path


def library_lines() -> Iterator[bytes]:
    """Every line of every module, in the order of the paths; without their ends."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield from path.read_bytes().splitlines()


def take_lines(count: int) -> list[bytes]:
    """So many lines; from the start again when there are not enough."""
    return list(islice(chain.from_iterable(library_lines() for _ in repeat(None)), count))

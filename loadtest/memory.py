"""How much memory the broker processes hold, as Linux counts it in /proc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_RESIDENT = "VmRSS:"
_KIB = 1024


def resident_bytes(pid: int) -> int:
    """What a living process has in memory, whatever for. Raises ProcessLookupError."""
    try:
        status = (Path("/proc") / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    return resident_in(status)


def resident_in(status: str) -> int:
    """Of the text of /proc/PID/status. Raises ProcessLookupError for that of a process that has ended."""
    for line in status.splitlines():
        if line.startswith(_RESIDENT):
            return int(line.split()[1]) * _KIB
    raise ProcessLookupError("the process has ended: it has no memory any more")


def resident_by(pids: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each named process. Raises ProcessLookupError."""
    return {name: resident_bytes(pid) for name, pid in pids.items()}


def growth_per_item(samples: list[tuple[int, int]]) -> float:
    """Bytes that every further item costs, from pairs of items and bytes: the slope of the line that fits them best.

    What does not grow with the items (a cache that is full, the program itself) does not count.
    """
    count = len(samples)
    mean_items = sum(items for items, _ in samples) / count
    mean_bytes = sum(size for _, size in samples) / count
    spread = sum((items - mean_items) ** 2 for items, _ in samples)
    return sum((items - mean_items) * (size - mean_bytes) for items, size in samples) / spread

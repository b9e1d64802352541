"""How much processor time the broker processes have used, as Linux counts it in /proc."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

_PROC = Path("/proc")
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_LISTENING = "0A"


def used_us(pid: int) -> int:
    """CPU microseconds (user and system, all threads) of a living process. Raises ProcessLookupError."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    return ticks_in(stat) * _TICK_US


def ticks_in(stat: str) -> int:
    """utime + stime of a /proc/PID/stat line. The command's name may hold spaces and parentheses: count after it."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def used_by(pids: Mapping[str, int]) -> dict[str, int]:
    """CPU microseconds of each named process that lives."""
    used = {}
    for name, pid in pids.items():
        try:
            used[name] = used_us(pid)
        except ProcessLookupError:
            continue
    return used


def listening(ports: Collection[int]) -> dict[int, int]:
    """The process that listens on each of these local TCP ports, where there is one that we may look into."""
    inodes: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        path = _PROC / "net" / table
        if path.exists():
            inodes |= sockets_in(path.read_text(), ports)
    found: dict[int, int] = {}
    for process in _PROC.iterdir():
        if process.name.isdigit():
            for inode in _sockets_of(process):
                if inode in inodes:
                    found[inodes[inode]] = int(process.name)
    return found


def sockets_in(table: str, ports: Collection[int]) -> dict[str, int]:
    """Inode to port, of the listening sockets in the text of /proc/net/tcp."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        port = int(fields[1].rpartition(":")[2], 16)
        if fields[3] == _LISTENING and port in ports:
            found[fields[9]] = port
    return found


def _sockets_of(process: Path) -> list[str]:
    try:
        links = [os.readlink(each) for each in (process / "fd").iterdir()]
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return []  # another user's, or gone while we looked
    return [link[len("socket:[") : -1] for link in links if link.startswith("socket:[")]

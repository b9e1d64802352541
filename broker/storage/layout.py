"""Where everything lies under a node's data directory. Names only; no I/O.

::

    lock                                      held while a process uses the directory
    manifest                                  whose data this is, in which format
    wal/00000000000000a1.seg                  segment 0xa1 of the log
    wal/3.spare                               a segment's worth of room, ready for use
    snapshots/<group>-<index>-<term>.snap     a group's state machine, dumped
    */*.part                                  not finished: removed at start
"""

from __future__ import annotations

import re

from broker.base.ids import GroupId
from broker.raft.types import SnapshotMark

LOCK = "lock"
MANIFEST = "manifest"
WAL = "wal"
SNAPSHOTS = "snapshots"
PART = ".part"

_SEGMENT = re.compile(r"^([0-9a-f]{16})\.seg$")
_SPARE = re.compile(r"^([0-9]+)\.spare$")
_SNAPSHOT = re.compile(r"^([0-9]+)-([0-9]+)-([0-9]+)\.snap$")


def segment_path(number: int) -> str:
    return f"{WAL}/{number:016x}.seg"


def spare_path(number: int) -> str:
    return f"{WAL}/{number}.spare"


def segment_number(name: str) -> int | None:
    found = _SEGMENT.match(name)
    return int(found[1], 16) if found else None


def spare_number(name: str) -> int | None:
    found = _SPARE.match(name)
    return int(found[1]) if found else None


def snapshot_name(group: GroupId, mark: SnapshotMark) -> str:
    return f"{group}-{mark.index}-{mark.term}.snap"


def snapshot_path(name: str) -> str:
    return f"{SNAPSHOTS}/{name}"


def snapshot_place(name: str) -> tuple[int, int] | None:
    """(group, index) of a snapshot's name; None when it is no such name."""
    found = _SNAPSHOT.match(name)
    return (int(found[1]), int(found[2])) if found else None

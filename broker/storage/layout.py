"""Where everything lies under a node's data directory. Names only; no I/O.

::

    lock                                      held while a process uses the directory
    manifest                                  whose data this is, in which format
    wal/00000000000000a1.seg                  segment 0xa1 of the log
    wal/3.spare                               a segment's worth of zeros, ready for use
    snapshots/<group>-<index>-<term>.snap     a group's state machine, dumped
    */*.part                                  not finished: removed at start
    damaged-3                                 why a whole directory was set aside, the third time that it was
    damaged/3/...                             that directory, as it was found
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
DAMAGED = "damaged"

_SEGMENT = re.compile(r"^([0-9a-f]{16})\.seg$")
_SPARE = re.compile(r"^([0-9]+)\.spare$")
_DAMAGE_NOTE = re.compile(r"^damaged-([0-9]+)$")
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


def damage_note(number: int) -> str:
    return f"{DAMAGED}-{number}"


def damage_number(name: str) -> int | None:
    found = _DAMAGE_NOTE.match(name)
    return int(found[1]) if found else None


def damaged_path(number: int, directory: str = "") -> str:
    """Where what was in ``directory`` is kept."""
    return f"{DAMAGED}/{number}/{directory}".rstrip("/")

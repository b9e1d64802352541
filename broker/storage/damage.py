"""Bytes that are not what was written: what is told of them, and to whom they belonged, if that is known.

Damage with a known group costs that replica alone. Of damage without one nobody can say what it took: the whole
directory is in doubt.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import DataCorrupt
from broker.storage import layout

LOG = "log"
"""A record of the write-ahead log, whose head is intact: it is known whose it was."""
FRAMING = "framing"
"""What holds the records of the log together."""
SNAPSHOT = "snapshot"
FILE = "file"
"""One of the small files, such as the manifest."""
KINDS = (LOG, FRAMING, SNAPSHOT, FILE)


class Finding(msgspec.Struct, frozen=True):
    """One piece of damage. ``index``: of the entry, if it was one."""

    kind: str
    path: str
    offset: int
    what: str
    group: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        owner = "" if self.group is None else f", group {self.group}"
        entry = "" if self.index is None else f", entry {self.index}"
        return f"{self.path} at offset {self.offset}{owner}{entry}: {self.what}"


class Damaged(DataCorrupt):
    """``finding``: all that is known of it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def corrupt(
    path: str, offset: int, what: str, group: int | None = None, *, index: int | None = None, kind: str = FRAMING
) -> Damaged:
    return Damaged(Finding(kind, path, offset, what, group, index))


def finding_of(error: DataCorrupt, group: int) -> Finding:
    """What was found of a group's data: whoever read it knows whose it is, if the bytes do not say so."""
    if isinstance(error, Damaged):
        return msgspec.structs.replace(error.finding, group=group)
    return Finding(LOG, layout.WAL, 0, str(error), group)

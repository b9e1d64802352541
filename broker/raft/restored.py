"""What recovery gives a replica to start from, and how the replica reads its log afterwards.

The core keeps only compact knowledge of the log; the bodies stay with whoever implements LogReader.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from broker.base.ids import Index, Term
from broker.raft.types import Entry, HardState, Membership, SnapshotMark


class LogReader(Protocol):
    """The log as storage holds it. A Ready's entries must be readable as soon as ``handle`` returned, synced or not."""

    def term_at(self, index: Index) -> Term | None:
        """Term of the entry at ``index``, or None where the log holds none. Asked only of old entries, rarely."""

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Consecutive entries from ``first``, not beyond ``last``: about ``max_bytes`` of data, at least one entry if
        the first exists, none otherwise. Raises nothing for entries that exist."""


class Restored(msgspec.Struct, frozen=True):
    """A replica's durable past. A fresh group: hard state of term 0, a mark at index 0 and term 0 that carries the
    bootstrap membership, ``first_index`` 1 and ``last_index`` 0."""

    hard_state: HardState
    mark: SnapshotMark
    first_index: Index
    """First entry that the log still holds, at most ``mark.index + 1``."""
    last_index: Index
    term_runs: tuple[tuple[Index, Term], ...]
    """Where each run of entries of one term begins, ascending; covers ``first_index`` to ``last_index``."""
    reader: LogReader
    memberships: tuple[tuple[Index, Membership], ...] = ()
    """The MEMBERSHIP entries found in the log behind the mark, ascending."""

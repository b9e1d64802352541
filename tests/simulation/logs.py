"""A replica's log as the log-matching checker wants to see it."""

from __future__ import annotations

from broker.base.errors import DataCorrupt
from broker.base.ids import GroupId, Index
from broker.raft.group import RaftGroup
from broker.storage.store import Store

UNREADABLE = b"unreadable"


class ReplicaLog:
    """Implements the checker's LogView."""

    def __init__(self, node: str, raft: RaftGroup, store: Store, group: GroupId) -> None:
        self.node = node
        self.first = int(raft.first_index)
        self.last = int(raft.last_index)
        self._store = store
        self._group = group

    def term_at(self, index: int) -> int | None:
        return self._store.term_at(self._group, Index(index))

    def readable(self, index: int) -> bool:
        return self.data_at(index) != UNREADABLE

    def data_at(self, index: int) -> bytes | None:
        """UNREADABLE where the disk has something else than was written, and nobody has looked yet."""
        try:
            entry = self._store.read_one(self._group, Index(index))
        except DataCorrupt:
            return UNREADABLE
        return None if entry is None else entry.data

"""One group's log as the Raft core wants to read it, taken from the node's store."""

from __future__ import annotations

from broker.base.ids import GroupId, Index, Term
from broker.raft.types import Entry
from broker.storage.store import Store


class GroupLog:
    """Implements the Raft floor's LogReader."""

    __slots__ = ("_group", "_store")

    def __init__(self, store: Store, group: GroupId) -> None:
        self._store = store
        self._group = group

    def term_at(self, index: Index) -> Term | None:
        return self._store.term_at(self._group, index)

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        return self._store.read(self._group, first, last, max_bytes)

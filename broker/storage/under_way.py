"""Batches that are sealed and not known to be durable: what they still have to bring about when they are."""

from __future__ import annotations

from collections import deque
from itertools import chain

from broker.base.ids import GroupId
from broker.storage.books import Books
from broker.storage.draft import Draft, void_all
from broker.storage.entries import Entries
from broker.storage.operations import Append, Carry
from broker.storage.tail import Cache
from broker.storage.wal import Batch


class UnderWay:
    def __init__(self, books: Books, entries: Entries, cache: Cache) -> None:
        self._books = books
        self._entries = entries
        self._cache = cache
        self._batches: deque[Batch] = deque()

    def add(self, batch: Batch) -> None:
        self._batches.append(batch)

    def settle(self, durable: int) -> None:
        """All up to the batch of this number are durable."""
        while self._batches and self._batches[0].number <= durable:
            batch = self._batches.popleft()
            for operation in batch.operations:
                operation.settled(self._books)
                if type(operation) is Append:
                    self._append_settled(operation)
                elif type(operation) is Carry:
                    self._entries.settled(operation)
            batch.operations = []
        self._cache.shrink()

    def appends_of(self, group: GroupId, draft: Draft) -> list[Append]:
        """Of one group, staged or sealed, not known to be durable."""
        operations = chain(draft.operations, *(batch.operations for batch in self._batches))
        return [each for each in operations if type(each) is Append and each.group == group and not each.void]

    def drop(self, group: GroupId) -> None:
        for batch in self._batches:
            void_all(batch.operations, group)

    def _append_settled(self, append: Append) -> None:
        tail = None if append.void else self._entries.tails.get(append.group)
        if tail is not None:
            self._cache.may_go(tail, append)
        self._entries.settled(append)

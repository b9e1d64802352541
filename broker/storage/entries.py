"""Finding entries: among the recent ones in memory, else by their place in the log's files."""

from __future__ import annotations

from broker.base.ids import GroupId, Index
from broker.raft.types import Entry
from broker.storage.books import Books
from broker.storage.index import GroupIndex
from broker.storage.locations import OFFSET_BITS
from broker.storage.operations import Append, Carry
from broker.storage.reader import Reader
from broker.storage.tail import Tail


class Entries:
    """``carried``: entries outside the log that are not durable yet, by (group, index), and what staged them."""

    def __init__(self, books: Books, reader: Reader) -> None:
        self._books = books
        self._reader = reader
        self.tails: dict[int, Tail] = {}
        self.carried: dict[tuple[int, int], tuple[Entry, Append | Carry]] = {}

    def tail(self, group: int) -> Tail:
        """Made when the group is new here."""
        tail = self.tails.get(group)
        if tail is None:
            tail = self.tails[group] = Tail()
        return tail

    def drop(self, group: int) -> Tail | None:
        """Forget the group; the tail it had."""
        for place in [place for place in self.carried if place[0] == group]:
            del self.carried[place]
        return self.tails.pop(group, None)

    def keep_old(self, group: int, appends: list[Append]) -> None:
        """The log is about to be dropped: hold on to entries before it that ``appends`` have yet to make durable."""
        tail = self.tails[group]
        for entry in tail.recent[: max(tail.first - tail.recent_first, 0)]:
            for append in appends:
                if append.first <= entry.index <= append.last:
                    self.carried[group, entry.index] = entry, append

    def settled(self, staged: Append | Carry) -> None:
        """What this operation staged is durable."""
        if self.carried:
            for index in staged.indexes:
                held = self.carried.get((staged.group, index))
                if held is not None and held[1] is staged:
                    del self.carried[staged.group, index]

    def one(self, group: GroupId, index: Index) -> Entry | None:
        """Raises DataCorrupt."""
        tail = self.tails.get(group)
        if tail is None:
            return None
        place = index - tail.recent_first
        if 0 <= place < len(tail.recent):
            return tail.recent[place]
        if not tail.first <= index <= tail.last and (group, index) in self.carried:
            return self.carried[group, index][0]
        places = self._index(group)
        in_log = index <= tail.last and not tail.resets
        location = places.find(index) if in_log else places.old.find(index)
        return self._reader.entries([location], group, index)[0] if location else None

    def kept(self, group: GroupId, first: Index, last: Index, max_bytes: int) -> tuple[list[Entry], Index]:
        """Those from ``first`` to ``last`` that are there, in the log or behind it, as far as about ``max_bytes`` go;
        and the index to go on from. Raises DataCorrupt."""
        tail = self.tails.get(group)
        if tail is None:
            return [], Index(last + 1)
        in_files = tail.recent_first - 1 if not tail.resets and not self.carried else 0
        found: list[Entry] = []
        size = 0
        index = first
        while index <= last and size < max_bytes:
            locations = self._locations(group, index, min(last, in_files), max_bytes - size)
            if locations:
                entries = self._reader.entries(locations, group, index)
            else:
                entry = self.one(group, index)
                entries = [] if entry is None else [entry]
            index = Index(index + max(len(locations), 1))
            found += entries
            size += sum([len(entry.data) for entry in entries])
        return found, index

    def _locations(self, group: int, first: int, last: int, max_bytes: int) -> list[int]:
        """Of consecutive entries from ``first`` that are in the files, as far as ``max_bytes`` may go."""
        find = self._index(group).find
        locations: list[int] = []
        size = 0
        for index in range(first, last + 1):
            location = find(index)
            if not location or size >= max_bytes:
                break
            locations.append(location)
            size += self._typical_size(location)
        return locations

    def _index(self, group: int) -> GroupIndex:
        """Looking must not make a group known that has no record yet, or none any more."""
        book = self._books.groups.get(group)
        return GroupIndex() if book is None else book.index

    def range(self, group: GroupId, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Raises DataCorrupt."""
        tail = self.tails.get(group)
        if tail is None or first < tail.first:
            return []
        last = Index(min(last, tail.last))
        if first > last:
            return []
        if first >= tail.recent_first:
            return tail.recent_from(first, last, max_bytes)
        stop = min(last + 1, tail.recent_first)
        found, size = self._stored(group, first, stop, max_bytes)
        if len(found) == stop - first and stop <= last:
            for entry in tail.recent_from(stop, last, max_bytes):
                size += len(entry.data)
                if size > max_bytes:
                    break
                found.append(entry)
        return found

    def _stored(self, group: int, first: int, stop: int, max_bytes: int) -> tuple[list[Entry], int]:
        """Entries from ``first`` up to before ``stop``, as far as ``max_bytes`` go; and their bytes of data."""
        places = self._index(group)
        found: list[Entry] = []
        size = 0
        place = first
        while place < stop and (size < max_bytes or not found):
            guess = max(max_bytes - size, 0) // self._typical_size(places.find(place)) + 1
            begin = place - places.base
            for entry in self._reader.entries(places.log[begin : begin + min(guess, stop - place)], group, place):
                if found and size + len(entry.data) > max_bytes:
                    return found, size
                size += len(entry.data)
                found.append(entry)
                place += 1
        return found, size

    def _typical_size(self, location: int) -> int:
        book = self._books.segments[location >> OFFSET_BITS]
        return book.record_bytes // book.records + 1

"""Which message is due next, among many that wait for instants of their own.

Due instants and keys in parallel arrays, 16 bytes a message, sorted by both and cut into chunks: so the first instant
is exact at any time, what is due leaves from the front, and what is withdrawn is found by bisection. Knows nothing of
messages but their keys.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

CHUNK_ENTRIES = 1024


class _Chunk:
    """Up to about CHUNK_ENTRIES entries, those before ``head`` being gone."""

    __slots__ = ("dues", "head", "keys")

    def __init__(self, dues: array[int], keys: array[int]) -> None:
        self.dues = dues
        self.keys = keys
        self.head = 0

    def place_of(self, due: int, key: int) -> int:
        """Of the first entry that is not less."""
        first = bisect_left(self.dues, due, self.head)
        if first == len(self.dues) or self.dues[first] > due:
            return first
        return bisect_left(self.keys, key, first, bisect_right(self.dues, due, first))


class Calendar:
    __slots__ = ("_bounds", "_chunks")

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._bounds: list[tuple[int, int]] = []
        """Of each chunk, an entry that is greater than all of the chunk before and than none of its own. That of the
        first one means nothing."""

    def first(self) -> int | None:
        """The earliest due instant."""
        return self._chunks[0].dues[self._chunks[0].head] if self._chunks else None

    def add(self, due: int, key: int) -> None:
        """``key`` is greater than those of all entries with the same ``due``."""
        chunks, bounds = self._chunks, self._bounds
        last = chunks[-1] if chunks else None
        if last is None or due >= last.dues[-1]:
            if last is None or len(last.keys) >= CHUNK_ENTRIES:
                last = _Chunk(array("Q"), array("Q"))
                chunks.append(last)
                bounds.append((due, key))
            last.dues.append(due)
            last.keys.append(key)
            return
        position = max(bisect_right(bounds, (due, key)) - 1, 0)
        chunk = chunks[position]
        place = chunk.place_of(due, key)
        chunk.dues.insert(place, due)
        chunk.keys.insert(place, key)
        if len(chunk.keys) >= 2 * CHUNK_ENTRIES:
            middle = (chunk.head + len(chunk.keys)) // 2
            chunks.insert(position + 1, _Chunk(chunk.dues[middle:], chunk.keys[middle:]))
            bounds.insert(position + 1, (chunk.dues[middle], chunk.keys[middle]))
            chunk.dues, chunk.keys = chunk.dues[chunk.head : middle], chunk.keys[chunk.head : middle]
            chunk.head = 0

    def take(self, at: int, limit: int) -> list[int]:
        """Remove what is due by ``at``, up to ``limit`` entries, the earliest first and of one instant by key. Their
        keys."""
        taken: list[int] = []
        while self._chunks and len(taken) < limit:
            chunk = self._chunks[0]
            end = min(bisect_right(chunk.dues, at, chunk.head), chunk.head + limit - len(taken))
            taken += chunk.keys[chunk.head : end]
            chunk.head = end
            if end < len(chunk.keys):
                break
            del self._chunks[0], self._bounds[0]
        return taken

    def remove(self, due: int, key: int) -> None:
        """Take out an entry that is there."""
        position = max(bisect_right(self._bounds, (due, key)) - 1, 0)
        chunk = self._chunks[position]
        place = chunk.place_of(due, key)
        if place == chunk.head:
            chunk.head += 1
        else:
            del chunk.dues[place], chunk.keys[place]
        if chunk.head == len(chunk.keys):
            del self._chunks[position], self._bounds[position]

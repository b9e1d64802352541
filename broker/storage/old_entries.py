"""Where those entries of a group stand that are behind its log and still referred to: 10 bytes each, with any gaps.

They lie in blocks of neighbouring indexes, so that a million of them can come, move and go without ever being copied as
a whole: what is forgotten is worked off block by block.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from sys import getsizeof

from broker.storage.locations import segment_counts

BLOCK_BITS = 14
BLOCK_INDEXES = 1 << BLOCK_BITS
_LOW_BITS = BLOCK_INDEXES - 1
_ONES = b"\1" * BLOCK_INDEXES

Ranges = Sequence[tuple[int, int]]
"""Of indexes: first and last, ascending and disjoint."""


class _Block:
    __slots__ = ("locations", "lows")

    def __init__(self) -> None:
        self.lows: array[int] = array("H")
        """Low bits of the indexes, ascending."""
        self.locations: array[int] = array("Q")

    def place_of(self, low: int) -> int:
        """-1 when it is not here."""
        place = bisect_left(self.lows, low)
        return place if place < len(self.lows) and self.lows[place] == low else -1


class OldEntries:
    __slots__ = ("_blocks", "_count")

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def indexes(self) -> Iterator[int]:
        """Ascending."""
        for number in sorted(self._blocks):
            for low in self._blocks[number].lows:
                yield number << BLOCK_BITS | low

    @property
    def bytes(self) -> int:
        """Memory of the arrays, with what they have in reserve."""
        return sum(getsizeof(block.lows) + getsizeof(block.locations) for block in self._blocks.values())

    def find(self, index: int) -> int:
        """Location, or 0."""
        block = self._blocks.get(index >> BLOCK_BITS)
        if block is None:
            return 0
        place = block.place_of(index & _LOW_BITS)
        return block.locations[place] if place >= 0 else 0

    def put(self, index: int, location: int) -> int:
        """Returns the location it had before, or 0."""
        block = self._block(index >> BLOCK_BITS)
        low = index & _LOW_BITS
        place = bisect_left(block.lows, low)
        if place < len(block.lows) and block.lows[place] == low:
            before = block.locations[place]
            block.locations[place] = location
            return before
        block.lows.insert(place, low)
        block.locations.insert(place, location)
        self._count += 1
        return 0

    def move(self, index: int, old: int, new: int) -> bool:
        """False unless it stands at ``old``."""
        block = self._blocks.get(index >> BLOCK_BITS)
        place = -1 if block is None else block.place_of(index & _LOW_BITS)
        if block is None or place < 0 or block.locations[place] != old:
            return False
        block.locations[place] = new
        return True

    def add(self, first: int, locations: array[int]) -> array[int]:
        """Consecutive entries from ``first``; a location of 0 stands for none. Returns what they had before."""
        before: array[int] = array("Q")
        start = 0
        while start < len(locations):
            index = first + start
            stop = min(len(locations), start + BLOCK_INDEXES - (index & _LOW_BITS))
            before.extend(self._add(index, locations[start:stop]))
            start = stop
        return before

    def segment_counts(self) -> Counter[int]:
        """How many stand in each segment."""
        counts: Counter[int] = Counter()
        for block in self._blocks.values():
            counts.update(segment_counts(block.locations))
        return counts

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Forget those whose location is not wanted."""
        for number, block in list(self._blocks.items()):
            kept = [pair for pair in zip(block.lows, block.locations, strict=True) if wanted(pair[1])]
            lows, locations = array("H", [low for low, _ in kept]), array("Q", [location for _, location in kept])
            self._replace(number, lows, locations)

    # --- forgetting, block by block

    def blocks_upto(self, index: int) -> list[int]:
        """Numbers of the blocks with indexes up to this one, ascending."""
        return sorted(number for number in self._blocks if number << BLOCK_BITS <= index)

    def retain(self, number: int, live: Ranges, place: int, upto: int) -> tuple[array[int], int]:
        """Of one block, forget those up to the index ``upto`` that are in none of the ranges from ``place`` on.

        Returns the locations of what was forgotten, and the place of the first range that may reach beyond the block.
        """
        base = number << BLOCK_BITS
        end = min(base + BLOCK_INDEXES - 1, upto)
        place = bisect_left(live, base, place, key=_last)
        block = self._blocks.get(number)
        if block is None or (place < len(live) and live[place][0] <= base and live[place][1] >= end):
            return array("Q"), place
        if end == base + _LOW_BITS and (place == len(live) or live[place][0] > end):
            return self._replace(number, array("H"), array("Q")), place
        wanted = bytearray(end - base + 1)
        while place < len(live) and live[place][0] <= end:
            first, last = live[place]
            begin, behind = max(first, base) - base, min(last, end) + 1 - base
            wanted[begin:behind] = _ONES[: behind - begin]
            if last > end:
                break
            place += 1
        wanted.extend(_ONES[len(wanted) :])
        return self._filter(number, wanted), place

    # --- inside

    def _block(self, number: int) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = _Block()
        return block

    def _add(self, first: int, locations: array[int]) -> array[int]:
        """All in one block."""
        block = self._block(first >> BLOCK_BITS)
        low = first & _LOW_BITS
        before: array[int] = array("Q")
        if 0 not in locations and (not block.lows or block.lows[-1] < low):
            block.lows.extend(range(low, low + len(locations)))
            block.locations.extend(locations)
            self._count += len(locations)
            return before
        for index, location in enumerate(locations, first):
            known = self.put(index, location) if location else 0
            if known:
                before.append(known)
        self._drop_if_empty(first >> BLOCK_BITS)
        return before

    def _filter(self, number: int, wanted: bytearray) -> array[int]:
        """Forget the entries of a block whose byte, at their low bits, is 0. Returns their locations."""
        block = self._blocks[number]
        chosen = [wanted[low] for low in block.lows]
        forgotten = array("Q", compress(block.locations, [not each for each in chosen]))
        if forgotten:
            lows = array("H", compress(block.lows, chosen))
            self._replace(number, lows, array("Q", compress(block.locations, chosen)))
        return forgotten

    def _replace(self, number: int, lows: array[int], locations: array[int]) -> array[int]:
        """What a block holds. Returns the locations that it held before."""
        block = self._blocks[number]
        before = block.locations
        self._count += len(lows) - len(block.lows)
        block.lows, block.locations = lows, locations
        self._drop_if_empty(number)
        return before

    def _drop_if_empty(self, number: int) -> None:
        if not self._blocks[number].lows:
            del self._blocks[number]


def _last(live: tuple[int, int]) -> int:
    return live[1]

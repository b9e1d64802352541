"""Messages that wait for an instant of their own, each with the number of its message group.

Two orders of the same messages: by key, in parallel arrays of 24 bytes a message, in which they are found, counted,
browsed and dropped by age; and by due instant, in a calendar. What leaves, and in which order, follows from content
alone. Knows nothing of receiving, nor which message group a number stands for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from broker.domain.queues.calendar import Calendar

CHUNK_ROWS = 1024

Row = tuple[int, int, int, int]
"""key, sent at, due at, number of the message group or 0"""

Ripe = tuple[int, int, int]
"""key, sent at, number of the message group or 0"""

Stretch = tuple[int, int]
"""places in a chunk: the first, and one behind the last"""

CapturedScheduled = tuple["array[int]", "array[int]", "array[int]", "array[int]", int]
"""keys, sent times, waits (from sent to due), numbers of groups, first position: the arrays do not change any more"""


class _Chunk:
    """Up to about CHUNK_ROWS messages, those before ``head`` being gone. A wait is at most fourteen days."""

    __slots__ = ("captured", "groups", "head", "keys", "sents", "waits")

    def __init__(self) -> None:
        self.keys = array("Q")
        self.sents = array("Q")
        self.waits = array("I")
        self.groups = array("I")
        self.head = 0
        self.captured = False

    def __len__(self) -> int:
        return len(self.keys) - self.head

    def row(self, place: int) -> Row:
        sent = self.sents[place]
        return self.keys[place], sent, sent + self.waits[place], self.groups[place]

    def ripe(self, start: int, end: int) -> Iterator[Ripe]:
        return zip(self.keys[start:end], self.sents[start:end], self.groups[start:end], strict=True)

    def cut_out(self, stretches: list[Stretch]) -> None:
        """Remove the messages at these places."""
        shift = 0
        if self.captured and stretches[-1][0] != self.head:  # leave the arrays that a dump holds to the dump
            shift, self.head, self.captured = self.head, 0, False
            self.keys, self.sents = self.keys[shift:], self.sents[shift:]
            self.waits, self.groups = self.waits[shift:], self.groups[shift:]
        for first, end in reversed(stretches):
            start, stop = first - shift, end - shift
            if start == self.head:
                self.head = stop
            else:
                del self.keys[start:stop], self.sents[start:stop], self.waits[start:stop], self.groups[start:stop]


def _last_sent(chunk: _Chunk) -> int:
    return chunk.sents[-1]


class Scheduled:
    __slots__ = ("_calendar", "_chunks", "_first_keys", "messages")

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._first_keys: list[int] = []
        """Of each chunk, as it was begun."""
        self._calendar = Calendar()
        self.messages = 0

    def add(self, key: int, sent: int, due: int, group: int) -> None:
        """Key and time are greater than, and not less than, those of the last message added. ``due`` is not before
        ``sent``, and at most fourteen days after it."""
        chunks = self._chunks
        if not chunks or len(chunks[-1].keys) >= CHUNK_ROWS or chunks[-1].captured:
            chunks.append(_Chunk())
            self._first_keys.append(key)
        chunk = chunks[-1]
        chunk.keys.append(key)
        chunk.sents.append(sent)
        chunk.waits.append(due - sent)
        chunk.groups.append(group)
        self._calendar.add(due, key)
        self.messages += 1

    def find(self, key: int) -> int | None:
        """When the message is due; None when it is not here."""
        found = self._find(key)
        return None if found is None else self._chunks[found[0]].row(found[1])[2]

    def remove(self, key: int) -> Row | None:
        """Take out one message; None when it is not here."""
        found = self._find(key)
        if found is None:
            return None
        position, place = found
        row = self._chunks[position].row(place)
        self._calendar.remove(row[2], key)
        self._cut_out(position, [(place, place + 1)])
        return row

    def next_due(self) -> int | None:
        return self._calendar.first()

    def ripen(self, at: int, limit: int) -> list[Ripe]:
        """Remove what is due by ``at``, up to ``limit`` messages, the earliest due first and of one instant by key.
        Listed by key."""
        keys = self._calendar.take(at, limit)
        keys.sort()
        ripe: list[Ripe] = []
        begin = 0
        while begin < len(keys):
            position = bisect_right(self._first_keys, keys[begin]) - 1
            chunk = self._chunks[position]
            end = bisect_right(keys, chunk.keys[-1], begin)
            stretches = _stretches(chunk.keys, chunk.head, keys[begin:end])
            for first, stop in stretches:
                ripe += chunk.ripe(first, stop)
            self._cut_out(position, stretches)
            begin = end
        return ripe

    def drop_sent_until(self, instant: int, limit: int) -> list[Ripe]:
        """Remove the messages sent at or before ``instant``, up to ``limit`` of them, the oldest first."""
        dropped: list[Ripe] = []
        while self._chunks and len(dropped) < limit:
            chunk = self._chunks[0]
            head = chunk.head
            end = min(bisect_right(chunk.sents, instant, head), head + limit - len(dropped))
            if end == head:
                break
            dropped += chunk.ripe(head, end)
            for place in range(head, end):
                self._calendar.remove(chunk.sents[place] + chunk.waits[place], chunk.keys[place])
            self._cut_out(0, [(head, end)])
        return dropped

    def oldest_sent(self) -> int | None:
        return self._chunks[0].sents[self._chunks[0].head] if self._chunks else None

    def rows(self, after: int, since: int = 0) -> Iterator[Row]:
        """The messages with keys > ``after`` that were sent at ``since`` or later, ascending. Nothing may change
        meanwhile."""
        chunks = self._chunks
        start = max(bisect_right(self._first_keys, after) - 1, bisect_left(chunks, since, key=_last_sent), 0)
        for position in range(start, len(chunks)):
            chunk = chunks[position]
            place = max(bisect_right(chunk.keys, after, chunk.head), bisect_left(chunk.sents, since, chunk.head))
            for each in range(place, len(chunk.keys)):
                yield chunk.row(each)

    def sent_before(self, instant: int) -> int:
        """How many of the messages were sent before ``instant``. Work by chunks."""
        whole = bisect_left(self._chunks, instant, key=_last_sent)
        before = sum(map(len, self._chunks[:whole]))
        if whole < len(self._chunks):
            chunk = self._chunks[whole]
            before += bisect_left(chunk.sents, instant, chunk.head) - chunk.head
        return before

    def capture(self) -> list[CapturedScheduled]:
        """The messages as they are now, by reference: later changes copy the chunk that they change."""
        for chunk in self._chunks:
            chunk.captured = True
        return [(c.keys, c.sents, c.waits, c.groups, c.head) for c in self._chunks]

    def extend(self, keys: array[int], sents: array[int], waits: array[int], groups: array[int]) -> None:
        """Append captured rows. Raises ValueError unless the arrays are of one length and the keys ascend."""
        if not len(keys) == len(sents) == len(waits) == len(groups):
            raise ValueError(
                f"scheduled messages with {len(keys)} keys, {len(sents)} times, {len(waits)} waits and "
                f"{len(groups)} groups"
            )
        last = self._chunks[-1].keys[-1] if self._chunks else -1
        for key, sent, wait, group in zip(keys, sents, waits, groups, strict=True):
            if key <= last:
                raise ValueError(f"scheduled message {key} follows message {last}")
            self.add(key, sent, sent + wait, group)
            last = key

    # --- inside

    def _find(self, key: int) -> tuple[int, int] | None:
        """Chunk and place of the message."""
        position = bisect_right(self._first_keys, key) - 1
        if position < 0:
            return None
        chunk = self._chunks[position]
        place = bisect_left(chunk.keys, key, chunk.head)
        return (position, place) if place < len(chunk.keys) and chunk.keys[place] == key else None

    def _cut_out(self, position: int, stretches: list[Stretch]) -> None:
        chunk = self._chunks[position]
        chunk.cut_out(stretches)
        self.messages -= sum(end - first for first, end in stretches)
        if not len(chunk):
            del self._chunks[position], self._first_keys[position]


def _stretches(keys: array[int], head: int, wanted: list[int]) -> list[Stretch]:
    """Where ``wanted``, which ascends, is found among ``keys`` from ``head``."""
    first = bisect_left(keys, wanted[0], head)
    last = bisect_left(keys, wanted[-1], first)
    if last - first + 1 == len(wanted):
        return [(first, last + 1)]
    stretches: list[Stretch] = []
    end = first
    for key in wanted:
        place = bisect_left(keys, key, end)
        if stretches and place == end:
            stretches[-1] = stretches[-1][0], place + 1
        else:
            stretches.append((place, place + 1))
        end = place + 1
    return stretches

"""Messages that were received, not deleted, and are visible again.

They keep what a consumer will be told (how often, when first) and the receipt that may still delete them: 36 bytes
each, in parallel arrays sorted by key, so that they are served again in the order in which they were sent. Knows
nothing of time-outs: it is told what comes back.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from broker.domain.queues.keys import AFTER_ALL

CHUNK_ROWS = 1024

Row = tuple[int, int, int, int, int]
"""key, sent at, first received at, receipt of the last delivery, number of deliveries"""

Columns = tuple[list[int], list[int], list[int], list[int], list[int]]
"""Rows, column by column, ascending by key."""


def columns_of(row: Row) -> Columns:
    """One row as columns."""
    key, sent, first, receipt, count = row
    return [key], [sent], [first], [receipt], [count]


CapturedRows = tuple["array[int]", "array[int]", "array[int]", "array[int]", "array[int]", int]
"""the columns of Row, and the first position: the arrays do not change any more"""


class _Chunk:
    """Up to about CHUNK_ROWS messages, those before ``head`` being gone."""

    __slots__ = ("captured", "counts", "firsts", "head", "keys", "receipts", "sents")

    def __init__(self) -> None:
        self.keys = array("Q")
        self.sents = array("Q")
        self.firsts = array("Q")
        self.receipts = array("Q")
        self.counts = array("I")
        self.head = 0
        self.captured = False

    def __len__(self) -> int:
        return len(self.keys) - self.head

    def unshare(self) -> None:
        """Before the arrays are changed: leave those a dump holds to the dump."""
        if self.captured:
            self.keep(self.head, len(self.keys))
            self.captured = False

    def keep(self, start: int, end: int) -> None:
        self.keys, self.sents, self.firsts = self.keys[start:end], self.sents[start:end], self.firsts[start:end]
        self.receipts, self.counts = self.receipts[start:end], self.counts[start:end]
        self.head = 0

    def row(self, place: int) -> Row:
        return self.keys[place], self.sents[place], self.firsts[place], self.receipts[place], self.counts[place]

    def insert(self, place: int, row: Row) -> None:
        key, sent, first, receipt, count = row
        self.keys.insert(place, key)
        self.sents.insert(place, sent)
        self.firsts.insert(place, first)
        self.receipts.insert(place, receipt)
        self.counts.insert(place, count)

    def remove(self, place: int) -> None:
        del self.keys[place], self.sents[place], self.firsts[place], self.receipts[place], self.counts[place]


def _first_key(chunk: _Chunk) -> int:
    return chunk.keys[chunk.head]


def _last_sent(chunk: _Chunk) -> int:
    return chunk.sents[-1]


class ReturnedList:
    __slots__ = ("_chunks", "messages")

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self.messages = 0

    def first_key(self) -> int:
        """AFTER_ALL when empty."""
        return _first_key(self._chunks[0]) if self._chunks else AFTER_ALL

    def oldest_sent(self) -> int | None:
        return self._chunks[0].sents[self._chunks[0].head] if self._chunks else None

    def newest_sent(self) -> int | None:
        return self._chunks[-1].sents[-1] if self._chunks else None

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            chunks = self._chunks
            if not chunks or row[0] > chunks[-1].keys[-1]:
                self._append(row)
            else:
                self._insert(row)
            self.messages += 1

    def add_columns(self, columns: Columns) -> None:
        """As ``add``, but much faster when all of them follow what is here."""
        if not columns[0]:
            return
        chunks = self._chunks
        if chunks and columns[0][0] <= chunks[-1].keys[-1]:
            self.add(zip(*columns, strict=True))
            return
        chunk = self._last_with_room()
        chunk.keys.extend(columns[0])
        chunk.sents.extend(columns[1])
        chunk.firsts.extend(columns[2])
        chunk.receipts.extend(columns[3])
        chunk.counts.extend(columns[4])
        self.messages += len(columns[0])

    def take(self, limit: int, below: int = AFTER_ALL) -> list[Row]:
        """Remove up to ``limit`` messages with keys < ``below`` from the front."""
        rows: list[Row] = []
        chunks = self._chunks
        while len(rows) < limit and chunks:
            chunk = chunks[0]
            head = chunk.head
            end = min(head + limit - len(rows), len(chunk.keys))
            if chunk.keys[end - 1] >= below:
                end = bisect_left(chunk.keys, below, head, end)
            rows.extend(
                zip(
                    chunk.keys[head:end],
                    chunk.sents[head:end],
                    chunk.firsts[head:end],
                    chunk.receipts[head:end],
                    chunk.counts[head:end],
                    strict=True,
                )
            )
            chunk.head = end
            if end < len(chunk.keys):
                break
            del chunks[0]
        self.messages -= len(rows)
        return rows

    def receipt_of(self, key: int) -> int | None:
        """Of the last delivery; None when the message is not here."""
        found = self._find(key)
        return None if found is None else self._chunks[found[0]].receipts[found[1]]

    def remove(self, key: int) -> int | None:
        """Take out one message, wherever it is: when it was sent, or None when it is not here."""
        found = self._find(key)
        if found is None:
            return None
        position, place = found
        chunk = self._chunks[position]
        sent = chunk.sents[place]
        if place == chunk.head:
            chunk.head += 1
        else:
            if chunk.captured:
                place -= chunk.head
                chunk.unshare()
            chunk.remove(place)
        if not len(chunk):
            del self._chunks[position]
        self.messages -= 1
        return sent

    def rows(self, after: int, since: int = 0) -> Iterator[Row]:
        """The messages with keys > ``after`` that were sent at ``since`` or later, ascending. Nothing may change
        meanwhile."""
        chunks = self._chunks
        start = max(bisect_right(chunks, after, key=_first_key) - 1, bisect_left(chunks, since, key=_last_sent))
        for position in range(max(start, 0), len(chunks)):
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

    def drop_sent_until(self, instant: int) -> int:
        """Forget the messages sent at or before ``instant``; how many that were. Work by chunks."""
        chunks = self._chunks
        before = self.messages
        whole = 0
        while whole < len(chunks) and chunks[whole].sents[-1] <= instant:
            self.messages -= len(chunks[whole])
            whole += 1
        del chunks[:whole]
        if chunks:
            chunk = chunks[0]
            end = bisect_right(chunk.sents, instant, chunk.head)
            self.messages -= end - chunk.head
            chunk.head = end
        return before - self.messages

    def capture(self) -> list[CapturedRows]:
        """The messages as they are now, by reference: later changes copy the chunk that they change."""
        for chunk in self._chunks:
            chunk.captured = True
        return [(c.keys, c.sents, c.firsts, c.receipts, c.counts, c.head) for c in self._chunks]

    # --- inside

    def _last_with_room(self) -> _Chunk:
        """To be appended to."""
        if not self._chunks or len(self._chunks[-1].keys) >= CHUNK_ROWS:
            self._chunks.append(_Chunk())
        chunk = self._chunks[-1]
        chunk.unshare()
        return chunk

    def _append(self, row: Row) -> None:
        chunk = self._last_with_room()
        key, sent, first, receipt, count = row
        chunk.keys.append(key)
        chunk.sents.append(sent)
        chunk.firsts.append(first)
        chunk.receipts.append(receipt)
        chunk.counts.append(count)

    def _insert(self, row: Row) -> None:
        position = max(bisect_right(self._chunks, row[0], key=_first_key) - 1, 0)
        chunk = self._chunks[position]
        chunk.unshare()
        chunk.insert(bisect_left(chunk.keys, row[0], chunk.head), row)
        if len(chunk.keys) >= 2 * CHUNK_ROWS:
            middle = (chunk.head + len(chunk.keys)) // 2
            tail = _Chunk()
            tail.keys, tail.sents, tail.firsts = chunk.keys, chunk.sents, chunk.firsts
            tail.receipts, tail.counts = chunk.receipts, chunk.counts
            tail.keep(middle, len(chunk.keys))
            chunk.keep(chunk.head, middle)
            self._chunks.insert(position + 1, tail)

    def _find(self, key: int) -> tuple[int, int] | None:
        position = bisect_right(self._chunks, key, key=_first_key) - 1
        if position < 0:
            return None
        chunk = self._chunks[position]
        place = bisect_left(chunk.keys, key, chunk.head)
        if place == len(chunk.keys) or chunk.keys[place] != key:
            return None
        return position, place

"""Messages that were never received, as runs: neighbouring slots of one entry, sent at one time.

A run costs 14 bytes in three parallel arrays, whether it is one message or a thousand. Runs stand in the order of their
keys, which is also the order of their send times, so what is oldest is always in front: taking, expiring and purging
work from there, whole chunks at a time. Knows nothing of delays, receipts or consumers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from broker.domain.queues.keys import AFTER_ALL

CHUNK_RUNS = 1024
_ERA_BITS = 32
_ERA_MASK = (1 << _ERA_BITS) - 1

Run = tuple[int, int, int]
"""key of the first message, number of messages, sent at"""

CapturedRuns = tuple[int, "array[int]", "array[int]", "array[int]", int]
"""era, keys, sent times within the era, counts, first position: the arrays do not change any more"""


class _Chunk:
    """Up to about CHUNK_RUNS runs, those before ``head`` being gone.

    Times are kept as the low 32 bits; a chunk holds runs of one era (49 days) only, and ``era`` is the rest.
    """

    __slots__ = ("captured", "counts", "era", "head", "keys", "messages", "sents")

    def __init__(self, era: int) -> None:
        self.era = era
        self.keys = array("Q")
        self.sents = array("I")
        self.counts = array("H")
        self.head = 0
        self.messages = 0
        self.captured = False

    def unshare(self) -> None:
        """Before the arrays are changed: leave those a dump holds to the dump."""
        head, self.head, self.captured = self.head, 0, False
        self.keys, self.sents, self.counts = self.keys[head:], self.sents[head:], self.counts[head:]

    def first_sent(self) -> int:
        return self.era << _ERA_BITS | self.sents[self.head]

    def last_sent(self) -> int:
        return self.era << _ERA_BITS | self.sents[-1]

    def place_of(self, key: int) -> int:
        """Of the run that holds the key, if any does: the last that does not begin after it, or the first of all."""
        return max(bisect_right(self.keys, key, self.head) - 1, self.head)

    def first_sent_at(self, instant: int) -> int:
        """Place of the first run sent at or after ``instant``, which is not after the last."""
        if instant <= self.first_sent():
            return self.head
        return bisect_left(self.sents, instant & _ERA_MASK, self.head)

    def cut_out(self, place: int, key: int) -> None:
        """Remove one message of the run at ``place``, which may leave two runs."""
        first, count = self.keys[place], self.counts[place]
        before, behind = key - first, first + count - key - 1
        if before and behind:
            self.keys.insert(place + 1, key + 1)
            self.sents.insert(place + 1, self.sents[place])
            self.counts.insert(place + 1, behind)
            self.counts[place] = before
        elif before or behind:
            self.keys[place] = first if before else key + 1
            self.counts[place] = count - 1
        else:
            del self.keys[place], self.sents[place], self.counts[place]


def _first_key(chunk: _Chunk) -> int:
    return chunk.keys[chunk.head]


class RunList:
    __slots__ = ("_chunks", "messages")

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self.messages = 0

    def first_key(self) -> int:
        """AFTER_ALL when empty."""
        return _first_key(self._chunks[0]) if self._chunks else AFTER_ALL

    def oldest_sent(self) -> int | None:
        return self._chunks[0].first_sent() if self._chunks else None

    def newest_sent(self) -> int | None:
        return self._chunks[-1].last_sent() if self._chunks else None

    def append(self, key: int, count: int, sent: int) -> None:
        """Key and time are not less than those of the last run."""
        chunks = self._chunks
        era = sent >> _ERA_BITS
        chunk = chunks[-1] if chunks else None
        if chunk is None or len(chunk.keys) >= CHUNK_RUNS or chunk.era != era:
            chunk = _Chunk(era)
            chunks.append(chunk)
        elif chunk.captured:
            chunk.unshare()
        chunk.keys.append(key)
        chunk.sents.append(sent & _ERA_MASK)
        chunk.counts.append(count)
        chunk.messages += count
        self.messages += count

    def insert(self, key: int, count: int, sent: int) -> None:
        """Anywhere among the runs, where ``key`` belongs."""
        chunks = self._chunks
        if not chunks or key > chunks[-1].keys[-1]:
            self.append(key, count, sent)
            return
        position = self._chunk_for(key, sent >> _ERA_BITS)
        chunk = chunks[position]
        if chunk.captured:
            chunk.unshare()
        place = bisect_left(chunk.keys, key, chunk.head)
        chunk.keys.insert(place, key)
        chunk.sents.insert(place, sent & _ERA_MASK)
        chunk.counts.insert(place, count)
        chunk.messages += count
        self.messages += count
        if len(chunk.keys) >= 2 * CHUNK_RUNS:
            self._split(position)

    def take(self, limit: int, below: int = AFTER_ALL) -> list[Run]:
        """Remove up to ``limit`` messages from the front, of runs with keys < ``below``."""
        chunks = self._chunks
        taken: list[Run] = []
        wanted = limit
        while wanted and chunks:
            chunk = chunks[0]
            keys, counts, sents, head, era = chunk.keys, chunk.counts, chunk.sents, chunk.head, chunk.era << _ERA_BITS
            end, before = len(keys), wanted
            while wanted and head < end:
                key, count = keys[head], counts[head]
                if key >= below or count > wanted:
                    break
                taken.append((key, count, era | sents[head]))
                wanted -= count
                head += 1
            chunk.head = head
            if head < end and wanted and keys[head] < below:
                taken.append(self._take_part(chunk, wanted))
                wanted = 0
            chunk.messages -= before - wanted
            if head < end:
                break
            del chunks[0]
        self.messages -= limit - wanted
        return taken

    def find(self, key: int) -> int | None:
        """When the message was sent; None when it is not here."""
        found = self._find(key)
        if found is None:
            return None
        position, place = found
        chunk = self._chunks[position]
        return chunk.era << _ERA_BITS | chunk.sents[place]

    def remove(self, key: int) -> int | None:
        """Take out one message, wherever it is: when it was sent, or None when it is not here."""
        found = self._find(key)
        if found is None:
            return None
        position, place = found
        chunk = self._chunks[position]
        sent = chunk.era << _ERA_BITS | chunk.sents[place]
        if place == chunk.head and chunk.counts[place] == 1:
            chunk.head += 1
        else:
            if chunk.captured:
                place -= chunk.head
                chunk.unshare()
            chunk.cut_out(place, key)
        chunk.messages -= 1
        self.messages -= 1
        if not chunk.messages:
            del self._chunks[position]
        elif len(chunk.keys) >= 2 * CHUNK_RUNS:
            self._split(position)
        return sent

    def rows(self, after: int, since: int = 0) -> Iterator[tuple[int, int]]:
        """Key and sent time of each message with a key > ``after`` and sent at ``since`` or later, ascending. Nothing
        may change meanwhile."""
        chunks = self._chunks
        start = max(bisect_right(chunks, after, key=_first_key) - 1, bisect_left(chunks, since, key=_Chunk.last_sent))
        for position in range(max(start, 0), len(chunks)):
            chunk = chunks[position]
            place = max(chunk.place_of(after), chunk.first_sent_at(since))
            for each in range(place, len(chunk.keys)):
                key, sent = chunk.keys[each], chunk.era << _ERA_BITS | chunk.sents[each]
                for message in range(max(key, after + 1), key + chunk.counts[each]):
                    yield message, sent

    def sent_before(self, instant: int) -> int:
        """How many of the messages were sent before ``instant``. Work by chunks."""
        whole = bisect_left(self._chunks, instant, key=_Chunk.last_sent)
        before = sum(chunk.messages for chunk in self._chunks[:whole])
        if whole < len(self._chunks):
            chunk = self._chunks[whole]
            before += sum(chunk.counts[chunk.head : chunk.first_sent_at(instant)])
        return before

    def drop_sent_until(self, instant: int) -> int:
        """Forget the runs sent at or before ``instant``; how many messages that were. Work by chunks, not by runs."""
        chunks = self._chunks
        before = self.messages
        whole = 0
        while whole < len(chunks) and chunks[whole].last_sent() <= instant:
            self.messages -= chunks[whole].messages
            whole += 1
        del chunks[:whole]
        if chunks and chunks[0].first_sent() <= instant:
            chunk = chunks[0]
            end = bisect_right(chunk.sents, instant & _ERA_MASK, chunk.head)
            dropped = sum(chunk.counts[chunk.head : end])
            chunk.head = end
            chunk.messages -= dropped
            self.messages -= dropped
        return before - self.messages

    def move_sent_until(self, instant: int, to: RunList) -> int:
        """Move the runs sent at or before ``instant`` to where they belong in ``to``; how many messages that were."""
        chunks = self._chunks
        before = self.messages
        while chunks and chunks[0].first_sent() <= instant:
            chunk = chunks[0]
            if chunk.last_sent() <= instant and to._adopt(chunk):
                self.messages -= chunk.messages
                del chunks[0]
                continue
            end = bisect_right(chunk.sents, instant & _ERA_MASK, chunk.head) if chunk.last_sent() > instant else None
            for key, count, sent in zip(
                chunk.keys[chunk.head : end],
                chunk.counts[chunk.head : end],
                chunk.sents[chunk.head : end],
                strict=True,
            ):
                to.insert(key, count, chunk.era << _ERA_BITS | sent)
                chunk.messages -= count
                self.messages -= count
            if end is None:
                del chunks[0]
            else:
                chunk.head = end
        return before - self.messages

    def capture(self) -> list[CapturedRuns]:
        """The runs as they are now, by reference: later changes copy the chunk that they change."""
        for chunk in self._chunks:
            chunk.captured = True
        return [(chunk.era, chunk.keys, chunk.sents, chunk.counts, chunk.head) for chunk in self._chunks]

    def extend(self, era: int, keys: array[int], sents: array[int], counts: array[int]) -> None:
        """Append captured rows. Raises ValueError unless the arrays are of one length and the keys ascend."""
        if not len(keys) == len(sents) == len(counts):
            raise ValueError(f"runs with {len(keys)} keys, {len(sents)} times and {len(counts)} counts")
        for start in range(0, len(keys), CHUNK_RUNS):
            chunk = _Chunk(era)
            chunk.keys = keys[start : start + CHUNK_RUNS]
            chunk.sents = sents[start : start + CHUNK_RUNS]
            chunk.counts = counts[start : start + CHUNK_RUNS]
            chunk.messages = sum(chunk.counts)
            if self._chunks and self._chunks[-1].keys[-1] >= chunk.keys[0]:
                raise ValueError(f"run {chunk.keys[0]} follows run {self._chunks[-1].keys[-1]}")
            self._chunks.append(chunk)
            self.messages += chunk.messages

    # --- inside

    def _find(self, key: int) -> tuple[int, int] | None:
        """Chunk and run that hold the message."""
        position = bisect_right(self._chunks, key, key=_first_key) - 1
        if position < 0:
            return None
        chunk = self._chunks[position]
        place = chunk.place_of(key)
        return (position, place) if key < chunk.keys[place] + chunk.counts[place] else None

    @staticmethod
    def _take_part(chunk: _Chunk, wanted: int) -> Run:
        """The first ``wanted`` messages of the first run, which has more."""
        if chunk.captured:
            chunk.unshare()
        head = chunk.head
        key = chunk.keys[head]
        chunk.keys[head] = key + wanted
        chunk.counts[head] -= wanted
        return key, wanted, chunk.first_sent()

    def _adopt(self, chunk: _Chunk) -> bool:
        """Take over a whole chunk when it follows all runs here and is worth a chunk of its own."""
        if len(chunk.keys) - chunk.head < CHUNK_RUNS // 2:
            return False
        if self._chunks and self._chunks[-1].keys[-1] > _first_key(chunk):
            return False
        self._chunks.append(chunk)
        self.messages += chunk.messages
        return True

    def _chunk_for(self, key: int, era: int) -> int:
        """Position of the chunk that ``key`` goes into. One of another era cannot take it: a new one may be made."""
        chunks = self._chunks
        position = max(bisect_right(chunks, key, key=_first_key) - 1, 0)
        if chunks[position].era < era:
            position += 1
        if position == len(chunks) or chunks[position].era != era:
            chunks.insert(position, _Chunk(era))
        return position

    def _split(self, position: int) -> None:
        chunk = self._chunks[position]
        middle = (chunk.head + len(chunk.keys)) // 2
        tail = _Chunk(chunk.era)
        tail.keys, tail.sents, tail.counts = chunk.keys[middle:], chunk.sents[middle:], chunk.counts[middle:]
        tail.messages = sum(tail.counts)
        chunk.keys, chunk.sents, chunk.counts = (
            chunk.keys[chunk.head : middle],
            chunk.sents[chunk.head : middle],
            chunk.counts[chunk.head : middle],
        )
        chunk.head = 0
        chunk.messages -= tail.messages
        self._chunks.insert(position + 1, tail)

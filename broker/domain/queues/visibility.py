"""Messages in flight: received, not deleted, and invisible until their time-out ends.

What one command makes invisible together, of one message group, is one batch: it shares a receipt and an end, and costs
one entry in the heap of ends. A message belongs to the batch that ``holders`` names for it; what older ones still say
of it is void. How many a message group has in flight is kept in the group. Time-outs are deadlines: nothing scans, and
heaps are cleaned of void batches as they surface.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import compress

from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.returned import Columns, Row

LARGE_BATCH = 64
"""A batch of more messages is rewritten when little of it is left, so that its lists do not outlive it."""
_SPARE_ENTRIES = 64
"""Void entries that a heap may keep however few others there are."""


class Batch:
    """Keys ascend, and with them the send times. ``repeats`` has first receive time and number of deliveries of those
    that were received before. The lists never change; ``left`` counts the keys that are still held."""

    __slots__ = (
        "first",
        "floor",
        "group",
        "keys",
        "left",
        "receipt",
        "received_at",
        "repeats",
        "sents",
        "serial",
        "until",
    )

    def __init__(
        self,
        group: MessageGroup,
        receipt: int,
        received_at: int,
        until: int,
        keys: list[int],
        sents: list[int],
        repeats: dict[int, tuple[int, int]] | None,
    ) -> None:
        self.group = group
        self.receipt = receipt
        self.received_at = received_at
        self.until = until
        self.keys = keys
        self.sents = sents
        self.repeats = repeats
        self.serial = 0
        self.left = len(keys)
        self.first = 0
        """No key before this position is held."""
        self.floor = max(1, len(keys) // 4) if len(keys) > LARGE_BATCH else 1
        """With fewer left than this it is worth rewriting (or over)."""

    def row(self, key: int, sent: int) -> Row:
        first, count = (self.repeats or {}).get(key, (self.received_at, 1))
        return key, sent, first, self.receipt, count

    def columns(self, holders: dict[int, Batch]) -> Columns:
        """All rows that are held, as columns."""
        keys, sents = self.keys, self.sents
        if self.left < len(keys):
            held = [holders.get(key) is self for key in keys]
            keys, sents = list(compress(keys, held)), list(compress(sents, held))
        firsts, counts = [self.received_at] * len(keys), [1] * len(keys)
        if self.repeats:
            for position, key in enumerate(keys):
                firsts[position], counts[position] = self.repeats.get(key, (self.received_at, 1))
        return keys, sents, firsts, [self.receipt] * len(keys), counts

    def live(self, holders: dict[int, Batch]) -> Iterator[Row]:
        for key, sent in zip(self.keys, self.sents, strict=True):
            if holders.get(key) is self:
                yield self.row(key, sent)


class _Extension(Batch):
    """A batch being gathered by one command: its messages are in ``rows``."""

    __slots__ = ("rows",)

    def __init__(self, group: MessageGroup, receipt: int, received_at: int, until: int) -> None:
        super().__init__(group, receipt, received_at, until, [], [], None)
        self.rows: dict[int, Row] = {}


_Entry = tuple[int, int]
"""what the heap is ordered by, and a batch's serial number"""


class InFlight:
    __slots__ = ("_batches", "_ends", "_extended", "_fronts", "_serial", "holders")

    def __init__(self) -> None:
        self.holders: dict[int, Batch] = {}
        self._extended: dict[tuple[int, int, str], _Extension] = {}
        """By receipt, new end and message group; empty between commands."""
        self._ends: list[_Entry] = []
        self._fronts: list[_Entry] = []
        """By first key still held: the oldest message in flight is in front."""
        self._batches: dict[int, Batch] = {}
        """By serial number: those that hold anything. Entries of others are void."""
        self._serial = 0

    def __len__(self) -> int:
        return len(self.holders)

    def add(self, batch: Batch) -> None:
        """``holders`` names it for all its keys from now on."""
        self.holders.update(dict.fromkeys(batch.keys, batch))
        self._serial += 1
        batch.serial = self._serial
        self._batches[batch.serial] = batch
        batch.group.held += len(batch.keys)
        heappush(self._ends, (batch.until, batch.serial))
        heappush(self._fronts, (batch.keys[0], batch.serial))

    def release(self, key: int, batch: Batch) -> None:
        """``batch`` holds the key; nobody does afterwards."""
        del self.holders[key]
        batch.group.held -= 1
        batch.left -= 1
        if batch.left < batch.floor:
            self.shrink(batch)

    def extend(self, key: int, batch: Batch, until: int) -> None:
        """Let the time-out of one message, held by ``batch``, end at ``until``. ``settle`` must follow."""
        identity = (batch.receipt, until, batch.group.name)
        extension = self._extended.get(identity)
        if extension is None:
            extension = _Extension(batch.group, batch.receipt, batch.received_at, until)
            self._extended[identity] = extension
        extension.rows[key] = self.withdraw(key, batch)
        self.holders[key] = extension

    def withdraw(self, key: int, batch: Batch) -> Row:
        """Release the key and say what is known of its message."""
        if isinstance(batch, _Extension):
            del self.holders[key]
            return batch.rows.pop(key)
        self.release(key, batch)
        return batch.row(key, batch.sents[bisect_left(batch.keys, key)])

    def settle(self) -> None:
        """What was extended together becomes batches."""
        for extension in self._extended.values():
            if extension.rows:
                rows = sorted(extension.rows.values())
                self.load(extension.group, extension.receipt, extension.received_at, extension.until, rows)
        self._extended.clear()

    def load(self, group: MessageGroup, receipt: int, received_at: int, until: int, rows: list[Row]) -> None:
        """Hold messages of one delivery; ``rows`` ascend."""
        repeats = {row[0]: (row[2], row[4]) for row in rows if row[4] > 1}
        keys, sents = [row[0] for row in rows], [row[1] for row in rows]
        self.add(Batch(group, receipt, received_at, until, keys, sents, repeats or None))

    def shrink(self, batch: Batch) -> None:
        """A batch with little left makes place: for a smaller one, if anything is left."""
        batches = self._batches
        del batches[batch.serial]
        if batch.left:
            batch.group.held -= batch.left
            self.load(batch.group, batch.receipt, batch.received_at, batch.until, list(batch.live(self.holders)))
        if len(self._ends) > 2 * len(batches) + _SPARE_ENTRIES:
            self._ends = [entry for entry in self._ends if entry[1] in batches]
            heapify(self._ends)
        if len(self._fronts) > 2 * len(batches) + _SPARE_ENTRIES:
            self._fronts = [entry for entry in self._fronts if entry[1] in batches]
            heapify(self._fronts)

    def next_end(self) -> int | None:
        ends = self._ends
        while ends and ends[0][1] not in self._batches:
            heappop(ends)
        return ends[0][0] if ends else None

    def end(self, at: int) -> list[tuple[Columns, MessageGroup]]:
        """Let go of everything whose time-out has ended by ``at``: by batch, those with the least keys first."""
        ended: list[tuple[Columns, MessageGroup]] = []
        ends = self._ends
        while ends and ends[0][0] <= at:
            batch = self._batches.pop(heappop(ends)[1], None)
            if batch is not None:
                columns = batch.columns(self.holders)
                for key in columns[0]:
                    del self.holders[key]
                batch.group.held -= len(columns[0])
                ended.append((columns, batch.group))
        if not self.holders:
            self.holders = {}  # an emptied dict keeps the memory of its fullest day
        ended.sort(key=_first_key)
        return ended

    def oldest_sent(self) -> int | None:
        batch = self._oldest_batch()
        return None if batch is None else batch.sents[batch.first]

    def drop_sent_until(self, instant: int) -> dict[str, MessageGroup]:
        """Forget the messages sent at or before ``instant``; whose they were."""
        holders = self.holders
        groups: dict[str, MessageGroup] = {}
        while (batch := self._oldest_batch()) is not None and batch.sents[batch.first] <= instant:
            keys, sents = batch.keys, batch.sents
            place = batch.first
            while place < len(keys) and sents[place] <= instant:
                if holders.get(keys[place]) is batch:
                    del holders[keys[place]]
                    batch.left -= 1
                    batch.group.held -= 1
                place += 1
            batch.first = place
            groups[batch.group.name] = batch.group
            if not batch.left:
                self.shrink(batch)
        return groups

    # --- inside

    def _oldest_batch(self) -> Batch | None:
        """The batch whose first key still held (at ``first``) is the least of all."""
        fronts, holders = self._fronts, self.holders
        while fronts:
            key, serial = fronts[0]
            batch = self._batches.get(serial)
            if batch is None:
                heappop(fronts)
                continue
            while holders.get(batch.keys[batch.first]) is not batch:
                batch.first += 1
            if batch.keys[batch.first] == key:
                return batch
            heapreplace(fronts, (batch.keys[batch.first], serial))
        return None


def _first_key(ended: tuple[Columns, MessageGroup]) -> int:
    return ended[0][0][0]


def live_batches(holders: dict[int, Batch]) -> list[Batch]:
    """The batches that hold anything, by end, receipt and first key held: an order that follows from content alone."""
    first: dict[int, tuple[int, Batch]] = {}
    for key, batch in holders.items():
        known = first.get(id(batch))
        if known is None or key < known[0]:
            first[id(batch)] = (key, batch)
    order = sorted((batch.until, batch.receipt, key) for key, batch in first.values())
    return [holders[key] for _, _, key in order]

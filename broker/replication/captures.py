"""What a replica has captured for backups, until it is read: the state of its machine as it was after one entry.

Every replica of a group captures at the same entry, and so has the same to give. A capture is read once, part by part,
from the first to the last; the latest part may be asked for again. One that nobody asks for is forgotten after a while.
Sans-IO; knows neither what a backup is nor where the parts go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from broker.base.errors import BackupExpired
from broker.base.ids import Index
from broker.base.instants import MINUTE, Millis
from broker.raft.types import SnapshotMark

LIFETIME = Millis(MINUTE)
"""Of a capture that nobody asks for."""
MOST = 2
"""Captures of a replica at once; the oldest goes first."""
PART_BYTES = 256 * 1024


class CapturedPart(msgspec.Struct, frozen=True, array_like=True):
    """Some of the pieces of a snapshot as it travels, in order; ``last``: there are no more."""

    mark: SnapshotMark
    pieces: tuple[bytes, ...]
    last: bool

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


Ranges = list[tuple[Index, Index]]
MakePieces = Callable[[Ranges], Iterator[bytes]]


class Capture:
    """``live``: ranges of the entries that the state refers to. Finding very many takes long and is done elsewhere,
    between ``take_live`` and ``begin``. ``make_pieces`` of them: one by one, as they are asked for."""

    def __init__(
        self, mark: SnapshotMark, live: Iterator[tuple[Index, Index]], make_pieces: MakePieces, now: Millis
    ) -> None:
        self.mark = mark
        self.expires_at = Millis(now + LIFETIME)
        self._live: Iterator[tuple[Index, Index]] | None = live
        self._make_pieces = make_pieces
        self._pieces: Iterator[bytes] | None = None
        self._latest: CapturedPart | None = None
        self._next = 0

    def take_live(self) -> Iterator[tuple[Index, Index]] | None:
        """To be read to its end, for ``begin``. None: somebody has taken it already."""
        live, self._live = self._live, None
        return live

    def begin(self, live: Ranges) -> None:
        self._pieces = self._make_pieces(live)

    def part(self, number: int) -> CapturedPart:
        """Numbers count from 0. Raises BackupExpired for one that is neither the next nor the latest, and before
        ``begin``; DataCorrupt."""
        if self._pieces is None:
            raise BackupExpired("what was captured is just being looked through for somebody else")
        if self._latest is not None and number == self._next - 1:
            return self._latest
        if number != self._next or (self._latest is not None and self._latest.last):
            raise BackupExpired(f"part {number} is no more to be had here, the next one is {self._next}")
        gathered: list[bytes] = []
        size = 0
        for piece in self._pieces:
            gathered.append(piece)
            size += len(piece)
            if size >= PART_BYTES:
                break
        self._latest = CapturedPart(self.mark, tuple(gathered), size < PART_BYTES)
        self._next += 1
        return self._latest


class Captures:
    def __init__(self) -> None:
        self._by_backup: dict[bytes, Capture] = {}

    def __len__(self) -> int:
        return len(self._by_backup)

    def add(self, backup: bytes, capture: Capture) -> None:
        while len(self._by_backup) >= MOST:
            del self._by_backup[next(iter(self._by_backup))]
        self._by_backup[backup] = capture

    def get(self, backup: bytes, now: Millis) -> Capture | None:
        """Lives on for another LIFETIME."""
        capture = self._by_backup.get(backup)
        if capture is not None:
            capture.expires_at = Millis(now + LIFETIME)
        return capture

    def drop(self, backup: bytes) -> None:
        self._by_backup.pop(backup, None)

    def next_deadline(self) -> Millis | None:
        if not self._by_backup:  # nearly always, and asked in every turn
            return None
        return min(capture.expires_at for capture in self._by_backup.values())

    def wake(self, now: Millis) -> None:
        self._by_backup = {backup: capture for backup, capture in self._by_backup.items() if capture.expires_at > now}

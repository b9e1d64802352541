"""Snapshots on their way: machine state and the live entries it refers to, from a leader to one follower.

The pieces travel on the bulk connection. Each begins with a byte that says what it is: a piece of the machine's dump,
or an array of live entries. An entry that the leader has dropped meanwhile is left out: it was dropped because a later,
committed entry made it dead, and the follower applies that one before it serves anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from broker.base.errors import DataCorrupt
from broker.base.ids import GroupId, Index
from broker.raft.types import Entry, SnapshotMark
from broker.replication import inputs
from broker.storage.store import Store

DUMP = 0
ENTRIES = 1
_ENTRIES_PIECE = 256 * 1024
"""Bytes of entry data gathered into one piece."""
_LOOKED_FOR = 4_096
"""Entries looked for in one step."""


class SnapshotHeader(msgspec.Struct, frozen=True, array_like=True):
    group: GroupId
    mark: SnapshotMark


_encoder = msgspec.msgpack.Encoder()
_entries_decoder = msgspec.msgpack.Decoder(list[Entry])
_header_decoder = msgspec.msgpack.Decoder(SnapshotHeader)


def encode_header(header: SnapshotHeader) -> bytes:
    return _encoder.encode(header)


def decode_header(data: bytes) -> SnapshotHeader:
    """Raises msgspec.DecodeError."""
    return _header_decoder.decode(data)


def decode_entries(piece: bytes) -> list[Entry]:
    """Of a piece that holds entries. Raises msgspec.DecodeError."""
    return _entries_decoder.decode(memoryview(piece)[1:])


def outgoing(
    store: Store, group: GroupId, dump: Iterable[bytes], live: Iterable[tuple[Index, Index]], whole: bool = False
) -> Iterator[bytes]:
    """All pieces in order. Lazy: each step looks for at most one piece's worth in the log. Where little is left of what
    was live, a piece may be empty. ``whole``: for whom nothing follows that makes up for what is gone; then raises
    DataCorrupt if anything is."""
    for piece in dump:
        yield bytes([DUMP]) + piece
    gathered: list[Entry] = []
    size = looked_for = 0
    for first, last in live:
        index = first
        while index <= last:
            stop = Index(min(last, index + _LOOKED_FOR - looked_for - 1))
            entries, beyond = store.read_kept(group, index, stop, _ENTRIES_PIECE - size)
            looked_for += beyond - index
            if whole and len(entries) < beyond - index:
                raise DataCorrupt(f"group {group}: of the live entries {index} to {beyond - 1} some are gone")
            index = beyond
            gathered += entries
            size += sum([len(entry.data) for entry in entries])
            if size >= _ENTRIES_PIECE or looked_for >= _LOOKED_FOR:
                yield bytes([ENTRIES]) + _encoder.encode(gathered)
                gathered, size, looked_for = [], 0, 0
    if gathered:
        yield bytes([ENTRIES]) + _encoder.encode(gathered)


class Incoming:
    """The receiving end: spools the dump into a snapshot file and stages the entries as they come."""

    def __init__(self, store: Store, header: SnapshotHeader) -> None:
        self.header = header
        self._store = store
        self._lives = store.lives(header.group)
        self._writer = store.begin_snapshot(header.group, header.mark)

    def accept(self, piece: bytes) -> int:
        """Bytes staged in the log by this piece. Raises DataCorrupt for a piece of no known kind."""
        if piece[0] == DUMP:
            self._writer.write(piece[1:])
            return 0
        if piece[0] != ENTRIES:
            raise DataCorrupt(f"snapshot of group {self.header.group}: piece of unknown kind {piece[0]}")
        entries = decode_entries(piece)
        self._store.stage_carried(self.header.group, entries)
        return len(piece)

    @property
    def wanted(self) -> bool:
        """Whether the group that it was begun for is still here. If not, no further piece may be accepted."""
        group = self.header.group
        return self._store.holds(group) and self._store.lives(group) == self._lives

    def finish(self) -> inputs.SnapshotArrived:
        """Make the file durable. Blocking."""
        return inputs.SnapshotArrived(self.header.group, self.header.mark, self._writer.finish(), self._lives)

    def abort(self) -> None:
        self._writer.abort()

"""Looking at a data directory of a node that does not run: what is there, and what of it is damaged. Changes nothing.

It reads all that the node would read at its start, and goes on where the node would give up: every block that can be
found is verified, and every snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.base.errors import BrokerError
from broker.base.ids import GroupId
from broker.storage import layout, manifest, segment, setting_aside, small_files
from broker.storage.books import Books, GroupBook
from broker.storage.damage import FILE, FRAMING, LOG, SNAPSHOT, Damaged, Finding
from broker.storage.disk import Disk
from broker.storage.locations import segment_counts
from broker.storage.recovery import Recovery
from broker.storage.segment import BLOCK_HEADER_BYTES, Damage
from broker.storage.snapshots import SnapshotFiles

_MAGIC_BYTES = 8
_WINDOW = 4 * 1024 * 1024


class GroupFound(msgspec.Struct, frozen=True):
    """``older``: entries before the log's first that may still be referred to. ``live_bytes``: of all entries, about;
    ``term``: the newest that its replica has taken part in."""

    group: int
    first: int
    last: int
    older: int
    first_term: int
    last_term: int
    term: int
    vote: str
    live_bytes: int
    snapshot: str
    snapshot_index: int
    snapshot_bytes: int
    damaged: bool


class Found(msgspec.Struct, frozen=True):
    """``complete``: the log could be read to its end, so that ``groups`` is what the node would start with.
    ``torn``: the last batch was cut short by a crash; it had not been confirmed, and counts for nothing."""

    cluster: str
    node: str
    segments: int
    segment_bytes: int
    complete: bool
    torn: bool
    groups: list[GroupFound]
    damage: list[Finding]
    set_aside: dict[int, str]

    @property
    def is_well(self) -> bool:
        return not self.damage

    @property
    def costs_everything(self) -> bool:
        """Damage of which nobody can say what it took."""
        return any(finding.group is None for finding in self.damage)


class _Owner(msgspec.Struct, frozen=True):
    cluster: str = ""
    node: str = ""
    magic: bytes = b""


def check(disk: Disk) -> Found:
    """Raises OSError, and InvalidArgument for a newer format."""
    damage: list[Finding] = []
    numbers = _segments(disk)
    owner = _owner(disk, numbers, damage)
    recovery = Recovery(disk, owner.magic)
    complete = bool(owner.magic) or not numbers
    if owner.magic:
        try:
            recovery.read()
        except Damaged as error:
            complete = False
            damage.append(error.finding)
        damage += _log_damage(disk, owner.magic, numbers, recovery, complete)
    snapshots = {group: _snapshot(disk, group, book, damage) for group, book in recovery.books.groups.items()}
    hurt = {finding.group for finding in damage}
    return Found(
        cluster=owner.cluster,
        node=owner.node,
        segments=len(numbers),
        segment_bytes=sum(_size(disk, layout.segment_path(number)) for number in numbers),
        complete=complete,
        torn=complete and recovery.torn,
        groups=[
            _found(group, book, recovery.books, snapshots[group], group in hurt)
            for group, book in sorted(recovery.books.groups.items())
        ],
        damage=damage,
        set_aside=setting_aside.kept(disk),
    )


def _segments(disk: Disk) -> list[int]:
    names = disk.names(layout.WAL)
    return sorted(found for found in map(layout.segment_number, names) if found is not None)


def _owner(disk: Disk, numbers: list[int], damage: list[Finding]) -> _Owner:
    """From the manifest; if that is damaged, at least the mark that all blocks begin with."""
    for name in disk.names(""):
        if name != layout.MANIFEST and small_files.belongs_here(disk, name):
            try:
                small_files.read(disk, name)
            except Damaged as error:
                damage.append(error.finding)
    try:
        found = manifest.read(disk)
    except Damaged as error:
        damage.append(error.finding)
        found = None
    if found is not None:
        return _Owner(found.cluster, found.node, segment.node_magic(found.cluster, found.node))
    if not numbers:
        return _Owner()
    if not damage:
        damage.append(Finding(FILE, layout.MANIFEST, 0, f"it is missing, but {layout.WAL} holds segments"))
    file = disk.open(layout.segment_path(numbers[0]))
    try:
        return _Owner(magic=file.read_at(_MAGIC_BYTES, 0))
    finally:
        file.close()


# --- the log


def _log_damage(disk: Disk, magic: bytes, numbers: list[int], recovery: Recovery, complete: bool) -> Iterator[Finding]:
    if complete:
        for findings in recovery.extent.findings(recovery.books).values():
            yield from findings
        return
    for number in numbers:
        yield from _scan(disk, magic, number)


def _scan(disk: Disk, magic: bytes, number: int) -> Iterator[Finding]:
    """Damaged records of every block of a segment whose header can be found."""
    path = layout.segment_path(number)
    file = disk.open(path)
    try:
        size, offset = file.size(), 0
        while offset < size:
            window = file.read_at(_WINDOW, offset)
            at = window.find(magic)
            header = None if at < 0 else segment.decode_block_header(window, at, magic, number)
            if header is None:
                # So far that a mark across the edge of the window is found in the next.
                offset += at + 1 if at >= 0 else max(len(window) - len(magic) + 1, 1)
                continue
            start = offset + at
            raw = file.read_at(BLOCK_HEADER_BYTES + header.length, start)
            try:
                records, bad = segment.decode_damaged(raw, BLOCK_HEADER_BYTES, header)
                for place in sorted(bad):
                    record = records[place]
                    index = record.index if record.type in segment.ENTRY_TYPES else None
                    what = "checksum mismatch in the record"
                    yield Finding(LOG, path, start + record.offset, what, record.group, index)
                offset = start + BLOCK_HEADER_BYTES + header.length
            except Damage as damage:
                yield Finding(FRAMING, path, start + damage.offset, f"block {header.sequence}: {damage}")
                offset = start + BLOCK_HEADER_BYTES
    finally:
        file.close()


# --- groups


def _snapshot(disk: Disk, group: int, book: GroupBook, damage: list[Finding]) -> int:
    """Reads it all; its bytes."""
    name = book.mark_name
    if not name:
        return 0
    path = layout.snapshot_path(name)
    if name not in disk.names(layout.SNAPSHOTS):
        damage.append(Finding(SNAPSHOT, path, 0, "the snapshot that counts is missing", group))
        return 0
    try:
        for _ in SnapshotFiles(disk).read(GroupId(group), name):
            pass
    except Damaged as error:
        damage.append(error.finding)
    except (BrokerError, ValueError) as error:
        damage.append(Finding(SNAPSHOT, path, 0, str(error), group))
    return _size(disk, path)


def _found(group: int, book: GroupBook, books: Books, snapshot_bytes: int, damaged: bool) -> GroupFound:
    index = book.index
    runs = book.terms.within(index.base, index.last)
    return GroupFound(
        group=group,
        first=index.base,
        last=index.last,
        older=len(index.old),
        first_term=runs[0][1] if runs else 0,
        last_term=runs[-1][1] if runs else 0,
        term=book.hard_state.term,
        vote=book.hard_state.vote or "",
        live_bytes=_live_bytes(book, books),
        snapshot=book.mark_name,
        snapshot_index=0 if book.mark is None else book.mark.index,
        snapshot_bytes=snapshot_bytes,
        damaged=damaged,
    )


def _live_bytes(book: GroupBook, books: Books) -> int:
    total = 0
    for counts in (segment_counts(book.index.log), book.index.old.segment_counts()):
        for number, count in counts.items():
            written = books.segments.get(number)
            if written is not None and written.records:
                total += written.record_bytes * count // written.records
    return total


def _size(disk: Disk, path: str) -> int:
    file = disk.open(path)
    try:
        return file.size()
    finally:
        file.close()

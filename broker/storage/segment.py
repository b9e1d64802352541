"""The bytes of a log segment: blocks, and the records inside them. Pure functions; no file, no group state.

A segment is a row of blocks from offset 0. A block is one batch: a header and its records, written by one write.

::

    block   magic 8 | segment 4 | zeros 4 | sequence 8 | length 4 | count 4 | heads crc 4 | crc 4  40 bytes
    record  crc 4 | length 4 | type 1 | kind 1 | zero 2 | group 4 | index 8 | term 8 | data        32 bytes + data

``crc`` of a record covers the rest of its head and its data, so that one record can be read and verified alone.
``heads crc`` covers the heads of all records of the block, and with their crcs everything in it: a block whose parts
come from two attempts to write it is not valid. ``crc`` of a block covers the rest of its header. ``zeros`` is one more
than the number of its pieces that are zeros (``sectors``); format 1 has 0 there: it did not count them, and used files
again without filling them with zeros. ``segment`` tells new bytes from those that such a file still holds, ``sequence``
is 1 for the first block ever and grows by one, and ``magic`` is the node's own, so that no message body is taken for a
block. All numbers little-endian; all checksums CRC-32C.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from struct import Struct

import google_crc32c
import msgspec

from broker.base.ids import Index, Term
from broker.raft.types import Entry, EntryKind

BLOCK_HEADER = Struct("<8sIIQIIII")
RECORD_HEAD = Struct("<IIBBHIQQ")
_HEADER_START = Struct("<8sIIQIII")
_HEAD_TAIL = Struct("<IBBHIQQ")
_CRC = Struct("<I")
BLOCK_HEADER_BYTES = BLOCK_HEADER.size
OFFSET_LIMIT = (1 << 32) - 1
"""A location has 32 bits for the offset in a segment."""
RECORD_HEAD_BYTES = RECORD_HEAD.size

# Types of records
ENTRY = 1
"""A slot of a group's log; cuts off what the log held from its index on."""
CARRIED = 2
"""A committed entry outside the log: it came with a snapshot, or is a copy of an old one."""
MOVED = 3
"""A copy of an entry of the log that stood in a segment about to be freed."""
HARD_STATE = 4
MARK = 5
FLOOR = 6
RESET = 7
FREED = 8
PREAMBLE = 9
DROPPED = 10
"""Nothing of a group is here any more; what follows of it is another life."""
PROOF = 11
"""Says nothing; that it follows proves that the batch before it was whole."""

ENTRY_TYPES = frozenset((ENTRY, CARRIED, MOVED))
OF_A_GROUP = frozenset((*ENTRY_TYPES, HARD_STATE, MARK, FLOOR, RESET, DROPPED))
"""The record says nothing of any other group."""
_TYPES = frozenset(range(ENTRY, PROOF + 1))
_KINDS = tuple(EntryKind)

_value = google_crc32c.value
_extend = google_crc32c.extend


class BlockHeader(msgspec.Struct, frozen=True, gc=False):
    sequence: int
    length: int
    """Bytes of the records."""
    count: int
    heads_crc: int
    zeros: int | None
    """How many pieces of the block are zeros; None: it was not counted, and what was there before is not known."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands in the bytes it was parsed from, and what its head says."""

    offset: int
    length: int
    type: int
    kind: int
    group: int
    index: int
    term: int


class Damage(Exception):
    """These bytes are not what was written. ``offset`` is relative to the bytes looked at; ``group`` when known."""

    def __init__(self, what: str, offset: int, group: int | None = None) -> None:
        super().__init__(what)
        self.offset = offset
        self.group = group


def node_magic(cluster: str, node: str) -> bytes:
    """8 bytes that begin every block of one node."""
    return b"3F" + hashlib.sha256(f"{cluster}\0{node}".encode()).digest()[:6]


def checksum(data: bytes) -> int:
    crc: int = _value(data)
    return crc


def encode_entries(
    record_type: int, group: int, entries: Sequence[Entry], pieces: list[bytes], size: int
) -> tuple[list[int], int]:
    """Append head and data of each entry to ``pieces``, which hold ``size`` bytes so far.

    Returns where each record begins, and the new size. Data is not copied.
    """
    offsets: list[int] = []
    append, note, tail_of, crc_of = pieces.append, offsets.append, _HEAD_TAIL.pack, _CRC.pack
    for entry in entries:
        data = entry.data
        tail = tail_of(len(data), record_type, entry.kind, 0, group, entry.index, entry.term)
        append(crc_of(_extend(_value(tail), data)) + tail)
        append(data)
        note(size)
        size += RECORD_HEAD_BYTES + len(data)
    return offsets, size


def encode_record(record_type: int, group: int, data: bytes) -> tuple[bytes, bytes]:
    """Head and data of a record that is no entry."""
    tail = _HEAD_TAIL.pack(len(data), record_type, 0, 0, group, 0, 0)
    return _CRC.pack(_extend(_value(tail), data)) + tail, data


def encode_block_header(
    magic: bytes, segment: int, sequence: int, length: int, pieces: Sequence[bytes], zeros: int
) -> bytes:
    """``pieces``: head, data, head, data ... of all records, ``length`` bytes together; ``zeros`` as the sectors have
    them."""
    heads = pieces[::2]
    crc = _value(b"".join(heads))
    start = _HEADER_START.pack(magic, segment, zeros + 1, sequence, length, len(heads), crc)
    return start + _CRC.pack(_value(start))


def decode_block_header(raw: bytes, offset: int, magic: bytes, segment: int) -> BlockHeader | None:
    """The header at ``offset``, or None if no block of this node and segment begins there."""
    if len(raw) - offset < BLOCK_HEADER_BYTES:
        return None
    found, number, zeros, sequence, length, count, heads_crc, crc = BLOCK_HEADER.unpack_from(raw, offset)
    if found != magic or number != segment or _value(raw[offset : offset + BLOCK_HEADER_BYTES - 4]) != crc:
        return None
    return BlockHeader(sequence, length, count, heads_crc, zeros - 1 if zeros else None)


def decode_block(raw: bytes, start: int, header: BlockHeader) -> list[Record]:
    """All records of the block whose records begin at ``start``, every checksum verified. Raises Damage."""
    end = start + header.length
    if end > len(raw):
        raise Damage(f"block of {header.length} bytes ends beyond the file", len(raw))
    records: list[Record] = []
    heads: list[bytes] = []
    offset = start
    unpack = RECORD_HEAD.unpack_from
    for _ in range(header.count):
        body = offset + RECORD_HEAD_BYTES
        if body > end:
            raise Damage(f"block announces {header.count} records, {len(records)} fit", offset)
        crc, length, record_type, kind, _zero, group, index, term = unpack(raw, offset)
        stop = body + length
        if stop > end or _value(raw[offset + 4 : stop]) != crc:
            raise Damage(_mismatch(group, index), offset, group)
        heads.append(raw[offset:body])
        records.append(Record(offset, length, record_type, kind, group, index, term))
        offset = stop
    if offset != end or _value(b"".join(heads)) != header.heads_crc:
        raise Damage(f"block of {header.count} records does not match its own checksum", start)
    return records


def decode_heads(raw: bytes, start: int, header: BlockHeader) -> list[Record]:
    """All records of the block, heads verified together, data not. Raises Damage."""
    records: list[Record] = []
    heads: list[bytes] = []
    offset = start
    unpack = RECORD_HEAD.unpack_from
    for _ in range(header.count):
        if offset + RECORD_HEAD_BYTES > len(raw):
            raise Damage(f"block announces {header.count} records, {len(records)} fit", offset)
        _crc, length, record_type, kind, _zero, group, index, term = unpack(raw, offset)
        heads.append(raw[offset : offset + RECORD_HEAD_BYTES])
        records.append(Record(offset, length, record_type, kind, group, index, term))
        offset += RECORD_HEAD_BYTES + length
    if _value(b"".join(heads)) != header.heads_crc:
        raise Damage(f"block of {header.count} records does not match its own checksum", start)
    return records


def decode_damaged(raw: bytes, start: int, header: BlockHeader) -> tuple[list[Record], frozenset[int]]:
    """All records of a block, and the places of those whose data is damaged. Raises Damage unless all heads are
    intact."""
    records = decode_heads(raw, start, header)
    end = start + header.length
    last = records[-1] if records else None
    if last is None or last.offset + RECORD_HEAD_BYTES + last.length != end or end > len(raw):
        raise Damage(f"block of {header.count} records does not fill its {header.length} bytes", start)
    bad: list[int] = []
    for place, record in enumerate(records):
        stop = record.offset + RECORD_HEAD_BYTES + record.length
        if _value(raw[record.offset + 4 : stop]) != _CRC.unpack_from(raw, record.offset)[0]:
            bad.append(place)
    return records, frozenset(bad)


def record_length(raw: bytes, offset: int) -> int:
    """Bytes of the record whose head begins at ``offset``, head included, as the head says (it may be damaged)."""
    length: int = RECORD_HEAD.unpack_from(raw, offset)[1]
    return RECORD_HEAD_BYTES + length


def decode_entry(raw: bytes, offset: int, group: int, index: int) -> Entry:
    """The entry whose record begins at ``offset``. Raises Damage unless it is this one, intact."""
    body = offset + RECORD_HEAD_BYTES
    if body > len(raw):
        raise Damage(f"entry {index} of group {group} lies beyond the file's end", offset, group)
    crc, length, record_type, kind, _zero, found_group, found_index, term = RECORD_HEAD.unpack_from(raw, offset)
    stop = body + length
    if stop > len(raw) or _value(raw[offset + 4 : stop]) != crc:
        raise Damage("checksum mismatch in the record", offset, group)
    if found_group != group or found_index != index or record_type not in ENTRY_TYPES or kind >= len(_KINDS):
        what = f"expected entry {index} of group {group}, found entry {found_index} of group {found_group}"
        raise Damage(what, offset, group)
    return Entry(Index(index), Term(term), _KINDS[kind], raw[body:stop])


def is_known(record: Record) -> bool:
    """Whether this version can tell what the record means."""
    return record.type in _TYPES and record.kind < len(_KINDS)


def _mismatch(group: int, index: int) -> str:
    return f"checksum mismatch in the record of group {group}, index {index}"

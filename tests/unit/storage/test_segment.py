from __future__ import annotations

import pytest

from broker.raft.types import EntryKind
from broker.storage import segment
from broker.storage.segment import BLOCK_HEADER_BYTES, Damage
from tests.unit.storage.small_store import entries, entry

MAGIC = segment.node_magic("cluster", "node")


def block(first: int = 1, last: int = 3, sequence: int = 5) -> bytes:
    pieces: list[bytes] = []
    _, size = segment.encode_entries(segment.ENTRY, 7, entries(first, last), pieces, 0)
    return segment.encode_block_header(MAGIC, 2, sequence, size, pieces, 0) + b"".join(pieces)


def test_a_block_reads_back_as_it_was_written() -> None:
    # given a block of three entries and a note, behind some other bytes
    pieces: list[bytes] = []
    offsets, size = segment.encode_entries(segment.ENTRY, 7, entries(1, 3), pieces, 0)
    pieces += segment.encode_record(segment.HARD_STATE, 7, b"state")
    size += 32 + len(b"state")
    raw = b"before" + segment.encode_block_header(MAGIC, 2, 5, size, pieces, 0) + b"".join(pieces)

    # when it is read
    header = segment.decode_block_header(raw, 6, MAGIC, 2)
    assert header is not None
    records = segment.decode_block(raw, 6 + BLOCK_HEADER_BYTES, header)

    # then everything is there, where the encoder said
    assert (header.sequence, header.length, header.count, header.zeros) == (5, size, 4, 0)
    assert [(r.type, r.group, r.index, r.term) for r in records[:3]] == [(segment.ENTRY, 7, i, 1) for i in (1, 2, 3)]
    assert [r.offset - 6 - BLOCK_HEADER_BYTES for r in records[:3]] == offsets
    assert (records[3].type, records[3].length) == (segment.HARD_STATE, 5)
    assert [segment.decode_entry(raw, r.offset, 7, r.index) for r in records[:3]] == entries(1, 3)
    assert segment.decode_heads(raw, 6 + BLOCK_HEADER_BYTES, header) == records


def test_every_flipped_bit_of_a_block_is_noticed() -> None:
    # given a block
    intact = block()
    for offset in range(len(intact)):
        # when any bit of it is flipped
        raw = bytearray(intact)
        raw[offset] ^= 1 << (offset % 8)
        header = segment.decode_block_header(bytes(raw), 0, MAGIC, 2)

        # then it is no block, or not a whole one
        if offset < BLOCK_HEADER_BYTES:
            assert header is None
        else:
            assert header is not None
            with pytest.raises(Damage):
                segment.decode_block(bytes(raw), BLOCK_HEADER_BYTES, header)


def test_a_block_of_another_segment_or_node_is_none() -> None:
    raw = block()
    assert segment.decode_block_header(raw, 0, MAGIC, 3) is None
    assert segment.decode_block_header(raw, 0, segment.node_magic("cluster", "other"), 2) is None
    assert segment.decode_block_header(raw[: BLOCK_HEADER_BYTES - 1], 0, MAGIC, 2) is None


def test_records_of_two_attempts_do_not_make_a_block() -> None:
    # given two blocks of the same shape, written at the same place one after the other
    first, second = block(1, 3), block(4, 6)
    assert len(first) == len(second)
    last_record = len(first) - (len(first) - BLOCK_HEADER_BYTES) // 3

    # when the second arrived but for its last record
    raw = second[:last_record] + first[last_record:]
    header = segment.decode_block_header(raw, 0, MAGIC, 2)

    # then it is not whole, although each record is
    assert header is not None
    assert segment.decode_entry(raw, last_record, 7, 3) == entry(3)
    with pytest.raises(Damage, match="does not match its own checksum"):
        segment.decode_block(raw, BLOCK_HEADER_BYTES, header)


def test_a_cut_block_is_damaged() -> None:
    raw = block()
    header = segment.decode_block_header(raw, 0, MAGIC, 2)
    assert header is not None
    with pytest.raises(Damage, match="ends beyond the file"):
        segment.decode_block(raw[:-1], BLOCK_HEADER_BYTES, header)


def test_an_entry_is_read_only_as_what_it_is() -> None:
    # given the record of entry 1 of group 7
    raw = block(1, 1)
    at = BLOCK_HEADER_BYTES

    # then it is no other entry, of no other group, and not a shorter one
    with pytest.raises(Damage, match="expected entry 2 of group 7, found entry 1 of group 7"):
        segment.decode_entry(raw, at, 7, 2)
    with pytest.raises(Damage, match="expected entry 1 of group 8"):
        segment.decode_entry(raw, at, 8, 1)
    with pytest.raises(Damage, match="checksum mismatch"):
        segment.decode_entry(raw[:-1], at, 7, 1)
    with pytest.raises(Damage, match="beyond the file's end"):
        segment.decode_entry(raw[: at + 31], at, 7, 1)


@pytest.mark.parametrize("kind", list(EntryKind))
def test_every_kind_of_entry_survives(kind: EntryKind) -> None:
    pieces: list[bytes] = []
    segment.encode_entries(segment.MOVED, 1, [entry(1, kind=kind, size=0)], pieces, 0)
    assert segment.decode_entry(b"".join(pieces), 0, 1, 1) == entry(1, kind=kind, size=0)

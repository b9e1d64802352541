"""Receipt handles: opaque, of one queue, whole or refused."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.errors import ReceiptHandleInvalid
from broker.base.ids import GroupId, QueueId
from broker.domain.queues.model import Handle
from broker.services import handles

GROUP, QUEUE = GroupId(5), QueueId(7)
OLD = bytes.fromhex("01") + struct.pack(">QQIQ", QUEUE, 1, 2, 3)
"""A handle of version 1, which named no group, without its checksum."""
_u32, _u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@given(_u32, _u64, _u64, _u32, _u64)
def test_a_handle_comes_back_as_it_went(group: int, queue: int, index: int, slot: int, receipt: int) -> None:
    encoded = handles.encode(GroupId(group), QueueId(queue), index, slot, receipt)
    assert len(encoded) == handles.SIZE == 37
    assert handles.group_of(encoded) == group
    assert handles.decode(encoded, QueueId(queue)) == Handle(index, slot, receipt)


@given(st.integers(0, handles.SIZE * 8 - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    damaged = bytearray(handles.encode(GROUP, QUEUE, 1, 2, 3))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ReceiptHandleInvalid):
        handles.decode(bytes(damaged), QUEUE)


@given(st.binary(max_size=80))
def test_guesses_are_refused(guess: bytes) -> None:
    with pytest.raises(ReceiptHandleInvalid):
        handles.decode(guess, QUEUE)


def test_a_handle_of_another_queue_is_refused() -> None:
    with pytest.raises(ReceiptHandleInvalid, match="another queue"):
        handles.decode(handles.encode(GROUP, QueueId(8), 1, 2, 3), QUEUE)


def test_a_handle_from_before_queues_had_stripes_is_of_the_home_group() -> None:
    old = OLD + struct.pack(">I", crc32(OLD))
    assert handles.group_of(old) is None
    assert handles.decode(old, QUEUE) == Handle(1, 2, 3)


@pytest.mark.parametrize("layout", [">BQIQIQ", ">BQQIQ"])
def test_a_handle_of_an_unknown_version_is_refused(layout: str) -> None:
    fields = struct.pack(layout, 3, *([QUEUE] + [0] * (len(layout) - 3)))
    with pytest.raises(ReceiptHandleInvalid, match="version 3 is not known here"):
        handles.decode(fields + struct.pack(">I", crc32(fields)), QUEUE)

"""Receipt handles: opaque, of one queue, whole or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.errors import ReceiptHandleInvalid
from broker.base.ids import QueueId
from broker.domain.queues.model import Handle
from broker.services import handles

QUEUE = QueueId(7)
_u64 = st.integers(0, 2**64 - 1)


@given(_u64, _u64, st.integers(0, 2**32 - 1), _u64)
def test_a_handle_comes_back_as_it_went(queue: int, index: int, slot: int, receipt: int) -> None:
    encoded = handles.encode(QueueId(queue), index, slot, receipt)
    assert len(encoded) == handles.SIZE == 33
    assert handles.decode(encoded, QueueId(queue)) == Handle(index, slot, receipt)


@given(st.integers(0, handles.SIZE * 8 - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    damaged = bytearray(handles.encode(QUEUE, 1, 2, 3))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ReceiptHandleInvalid):
        handles.decode(bytes(damaged), QUEUE)


@given(st.binary(max_size=80))
def test_guesses_are_refused(guess: bytes) -> None:
    with pytest.raises(ReceiptHandleInvalid):
        handles.decode(guess, QUEUE)


def test_a_handle_of_another_queue_is_refused() -> None:
    with pytest.raises(ReceiptHandleInvalid, match="another queue"):
        handles.decode(handles.encode(QueueId(8), 1, 2, 3), QUEUE)

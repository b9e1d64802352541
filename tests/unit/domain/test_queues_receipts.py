"""Receipt handles as clients hold them: what was given out comes back whole, anything else is told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.errors import ReceiptHandleInvalid
from broker.base.ids import QueueId
from broker.domain.queues.commands import Handle
from broker.domain.queues.receipts import decode_handle, encode_handle

QUEUE = QueueId(7)
numbers = st.integers(0, 2**64 - 1)
TOKEN = encode_handle(QUEUE, 1_000, 3, 1_001)


@given(index=numbers, slot=st.integers(0, 2**16 - 1), receipt=numbers)
def test_a_handle_comes_back_whole(index: int, slot: int, receipt: int) -> None:
    assert decode_handle(QUEUE, encode_handle(QUEUE, index, slot, receipt)) == Handle(index, slot, receipt)


@given(position=st.integers(0, len(TOKEN) - 1), flipped=st.integers(1, 255))
def test_a_damaged_handle_is_refused(position: int, flipped: int) -> None:
    damaged = bytearray(TOKEN)
    damaged[position] ^= flipped
    with pytest.raises(ReceiptHandleInvalid):
        decode_handle(QUEUE, bytes(damaged))


@pytest.mark.parametrize("token", [b"", TOKEN[:-1], TOKEN + b"x", b"not a handle"])
def test_a_handle_of_another_length_is_refused(token: bytes) -> None:
    with pytest.raises(ReceiptHandleInvalid, match=f"{len(token)}"):
        decode_handle(QUEUE, token)


def test_a_handle_of_another_queue_is_refused() -> None:
    with pytest.raises(ReceiptHandleInvalid, match="another queue"):
        decode_handle(QueueId(8), TOKEN)

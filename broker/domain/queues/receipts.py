"""How a message is named inside a queue (its key), and how a delivery is named outside (its receipt handle).

A key is one integer, index << 16 | slot: it orders messages as they were sent and costs no object of its own. Nothing
here knows whether the message still exists.
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from broker.base.errors import ReceiptHandleInvalid
from broker.base.ids import QueueId
from broker.domain.queues.commands import Handle

SLOT_BITS = 16
SLOT_MASK = (1 << SLOT_BITS) - 1
AFTER_ALL = 1 << 64
"""Greater than any key."""

_TOKEN = Struct(">QQQH")
_CHECKSUM = Struct(">I")
TOKEN_LENGTH = _TOKEN.size + _CHECKSUM.size


def message_key(index: int, slot: int) -> int:
    return index << SLOT_BITS | slot


def encode_handle(queue: QueueId, index: int, slot: int, receipt: int) -> bytes:
    """The 30 opaque bytes that clients hold. The checksum finds damage, it does not keep forgers out: whoever may
    receive from a queue may also delete from it."""
    token = _TOKEN.pack(queue, index, receipt, slot)
    return token + _CHECKSUM.pack(crc32(token))


def decode_handle(queue: QueueId, token: bytes) -> Handle:
    """Raises ReceiptHandleInvalid when ``token`` is damaged or was given out by another queue."""
    if len(token) != TOKEN_LENGTH:
        raise ReceiptHandleInvalid(
            f"a receipt handle is {TOKEN_LENGTH} bytes, this is {len(token)}: pass it exactly as it was received"
        )
    if _CHECKSUM.unpack_from(token, _TOKEN.size)[0] != crc32(token[: _TOKEN.size]):
        raise ReceiptHandleInvalid("the receipt handle is damaged: pass it exactly as it was received")
    owner, index, receipt, slot = _TOKEN.unpack_from(token)
    if owner != queue:
        raise ReceiptHandleInvalid("the receipt handle belongs to another queue, or to a deleted one of the same name")
    return Handle(index, slot, receipt)

"""Receipt handles as consumers hold them: opaque bytes that name one delivery of one message of one queue.

33 bytes: version, queue id, log index, slot, receipt, and a CRC-32 that tells damage and guesses from handles. A handle
grants nothing beyond its queue: whoever may use the queue may use every handle of it.
"""

from __future__ import annotations

import struct
from zlib import crc32

from broker.base.errors import ReceiptHandleInvalid
from broker.base.ids import QueueId
from broker.domain.queues.model import Handle

VERSION = 1
_FIELDS = struct.Struct(">BQQIQ")
_CHECKSUM = struct.Struct(">I")
SIZE = _FIELDS.size + _CHECKSUM.size


def encode(queue: QueueId, index: int, slot: int, receipt: int) -> bytes:
    fields = _FIELDS.pack(VERSION, queue, index, slot, receipt)
    return fields + _CHECKSUM.pack(crc32(fields))


def decode(handle: bytes, queue: QueueId) -> Handle:
    """Raises ReceiptHandleInvalid unless ``encode`` made it for this queue."""
    if len(handle) != SIZE:
        raise ReceiptHandleInvalid(
            f"a receipt handle has {SIZE} bytes, this has {len(handle)}: use it exactly as received"
        )
    fields, checksum = handle[: _FIELDS.size], handle[_FIELDS.size :]
    if _CHECKSUM.pack(crc32(fields)) != checksum:
        raise ReceiptHandleInvalid("the receipt handle is damaged: use it exactly as received")
    version, of_queue, index, slot, receipt = _FIELDS.unpack(fields)
    if version != VERSION:
        raise ReceiptHandleInvalid(f"receipt handle version {version} is not known here, only {VERSION}")
    if of_queue != queue:
        raise ReceiptHandleInvalid("the receipt handle is of another queue, or of a deleted one of the same name")
    return Handle(index, slot, receipt)

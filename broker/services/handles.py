"""Receipt handles as consumers hold them: opaque bytes that name one delivery of one message of one queue.

37 bytes: version, queue id, group, log index, slot, receipt, and a CRC-32 that tells damage and guesses from handles. A
handle grants nothing beyond its queue: whoever may use the queue may use every handle of it. Those of version 1 name no
group: their queues lived in one.
"""

from __future__ import annotations

import struct
from zlib import crc32

from broker.base.errors import ReceiptHandleInvalid
from broker.base.ids import GroupId, QueueId
from broker.domain.queues.model import Handle

VERSION = 2
_FIELDS = struct.Struct(">BQIQIQ")
_OLD_FIELDS = struct.Struct(">BQQIQ")
_GROUP = slice(9, 13)
_CHECKSUM = struct.Struct(">I")
SIZE = _FIELDS.size + _CHECKSUM.size
_OLD_SIZE = _OLD_FIELDS.size + _CHECKSUM.size


def encode(group: GroupId, queue: QueueId, index: int, slot: int, receipt: int) -> bytes:
    fields = _FIELDS.pack(VERSION, queue, group, index, slot, receipt)
    return fields + _CHECKSUM.pack(crc32(fields))


def group_of(handle: bytes) -> GroupId | None:
    """The group that it says it is of, not checked otherwise; None: the home group of its queue."""
    return GroupId(int.from_bytes(handle[_GROUP], "big")) if len(handle) == SIZE else None


def decode(handle: bytes, queue: QueueId) -> Handle:
    """Raises ReceiptHandleInvalid unless ``encode`` made it for this queue."""
    if len(handle) not in (SIZE, _OLD_SIZE):
        raise ReceiptHandleInvalid(
            f"a receipt handle has {SIZE} bytes, this has {len(handle)}: use it exactly as received"
        )
    fields, checksum = handle[: -_CHECKSUM.size], handle[-_CHECKSUM.size :]
    if _CHECKSUM.pack(crc32(fields)) != checksum:
        raise ReceiptHandleInvalid("the receipt handle is damaged: use it exactly as received")
    if len(handle) == SIZE:
        version, of_queue, _, index, slot, receipt = _FIELDS.unpack(fields)
    else:
        version, of_queue, index, slot, receipt = _OLD_FIELDS.unpack(fields)
    if version != (VERSION if len(handle) == SIZE else 1):
        raise ReceiptHandleInvalid(f"receipt handle version {version} is not known here, only up to {VERSION}")
    if of_queue != queue:
        raise ReceiptHandleInvalid("the receipt handle is of another queue, or of a deleted one of the same name")
    return Handle(index, slot, receipt)

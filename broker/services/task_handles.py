"""Handles of move tasks as callers hold them: opaque text that names one task of one queue.

Hexadecimal digits of 25 bytes: version, queue id, the task's label, and a CRC-32 that tells damage and guesses from
handles. A label is what the tasks in all groups over which a queue is spread have in common.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from zlib import crc32

import msgspec

from broker.base.errors import InvalidArgument
from broker.base.ids import QueueId
from broker.machine.envelope import RequestId

VERSION = 1
_LABEL_SIZE = 12
_FIELDS = struct.Struct(f">BQ{_LABEL_SIZE}s")
_CHECKSUM = struct.Struct(">I")
LENGTH = 2 * (_FIELDS.size + _CHECKSUM.size)


class TaskHandle(msgspec.Struct, frozen=True):
    """``label`` as ``label_of`` made it."""

    queue: QueueId
    label: str


def label_of(request: RequestId) -> str:
    """Of the task that is started under this request id: the same when it is repeated, and no other's. It does not
    betray the session, whose id is its owner's secret."""
    return blake2b(request.session + request.number.to_bytes(8, "big"), digest_size=_LABEL_SIZE).hexdigest()


def encode(handle: TaskHandle) -> str:
    fields = _FIELDS.pack(VERSION, handle.queue, bytes.fromhex(handle.label))
    return (fields + _CHECKSUM.pack(crc32(fields))).hex()


def decode(text: str) -> TaskHandle:
    """Raises InvalidArgument unless ``encode`` made it."""
    if len(text) != LENGTH:
        raise InvalidArgument(f"a move task's handle has {LENGTH} digits, this has {len(text)}: use it as it was given")
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise InvalidArgument(f"a move task's handle has hexadecimal digits only, this is {text!r}") from None
    fields, checksum = data[: _FIELDS.size], data[_FIELDS.size :]
    if _CHECKSUM.pack(crc32(fields)) != checksum:
        raise InvalidArgument(f"the move task's handle {text!r} is damaged: use it as it was given")
    version, queue, label = _FIELDS.unpack(fields)
    if version != VERSION:
        raise InvalidArgument(f"a move task's handle of version {version} is not known here, only {VERSION}")
    return TaskHandle(QueueId(queue), label.hex())

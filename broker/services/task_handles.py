"""Handles of move tasks as callers hold them: opaque text that names one task of one queue.

Hexadecimal digits of 25 bytes: version, queue id, group, task, and a CRC-32 that tells damage and guesses from handles.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from broker.base.errors import InvalidArgument
from broker.base.ids import GroupId, QueueId

VERSION = 1
_FIELDS = struct.Struct(">BQIQ")
_CHECKSUM = struct.Struct(">I")
LENGTH = 2 * (_FIELDS.size + _CHECKSUM.size)


class TaskHandle(msgspec.Struct, frozen=True):
    queue: QueueId
    group: GroupId
    task: int


def encode(handle: TaskHandle) -> str:
    fields = _FIELDS.pack(VERSION, handle.queue, handle.group, handle.task)
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
    version, queue, group, task = _FIELDS.unpack(fields)
    if version != VERSION:
        raise InvalidArgument(f"a move task's handle of version {version} is not known here, only {VERSION}")
    return TaskHandle(QueueId(queue), GroupId(group), task)

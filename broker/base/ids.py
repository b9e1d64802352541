"""Names of the things every floor speaks of. Plain integers and strings at run time, distinct types to mypy."""

from __future__ import annotations

from typing import NewType

import msgspec

NodeId = NewType("NodeId", str)
"""A node's name, unique in its cluster and stable over restarts: ``"a-0"`` is the first node of zone a."""

Zone = NewType("Zone", str)
"""An availability zone: the unit that may fail as a whole. A group never has two replicas in one zone."""

GroupId = NewType("GroupId", int)
"""A Raft group. 0 is the directory; 1..G hold data."""

Term = NewType("Term", int)
Index = NewType("Index", int)
"""A position in one group's log, from 1. 0 means "before the first entry"."""

QueueId = NewType("QueueId", int)
"""One incarnation of a queue: a queue deleted and created again under its old name has a new id."""

DIRECTORY_GROUP = GroupId(0)

_TEXT_LENGTH = 36
_SLOT_DIGITS = 8


class MessageId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Where a message was born: group, log index, slot within the entry. Unique in a cluster for ever.

    Written as 16 bytes, or as 36 characters in the 8-4-4-4-12 layout that SQS clients expect of an id.
    """

    group: int
    index: int
    slot: int

    def __str__(self) -> str:
        return id_text(self.to_bytes())

    def texts(self, count: int) -> list[str]:
        """This id and those of the slots after it, ``count`` together, written out."""
        own = str(self)
        if count == 1:
            return [own]
        shared = own[:-_SLOT_DIGITS]
        return [f"{shared}{slot:0{_SLOT_DIGITS}x}" for slot in range(self.slot, self.slot + count)]

    def to_bytes(self) -> bytes:
        return ((self.group << 96) | (self.index << 32) | self.slot).to_bytes(16, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> MessageId:
        """Raises ValueError unless ``raw`` is 16 bytes."""
        if len(raw) != 16:
            raise ValueError(f"a message id is 16 bytes, this is {len(raw)}")
        number = int.from_bytes(raw, "big")
        return cls(number >> 96, (number >> 32) & 0xFFFF_FFFF_FFFF_FFFF, number & 0xFFFF_FFFF)

    @classmethod
    def parse(cls, text: str) -> MessageId:
        """Raises ValueError unless ``text`` is what ``str`` made."""
        if len(text) != _TEXT_LENGTH:
            raise ValueError(f"a message id has {_TEXT_LENGTH} characters, this has {len(text)}")
        return cls.from_bytes(bytes.fromhex(text.replace("-", "")))


def id_text(raw: bytes) -> str:
    """The 36 characters of an id of 16 bytes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

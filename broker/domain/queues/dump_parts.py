"""The pieces that a dump of queues is made of, and how columns of numbers stand in them: little-endian bytes.

Fields are only ever appended, with defaults, so that older dumps can be read.
"""

from __future__ import annotations

import sys
from array import array

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import WallMillis
from broker.domain.queues.model import QueueAttributes, Target
from broker.domain.queues.moving import Departure

VERSION = 2
_BIG_ENDIAN = sys.byteorder == "big"


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=1):
    version: int


class MoveState(msgspec.Struct, frozen=True, array_like=True):
    """A move task, as move_task.MoveTask."""

    task: int
    destination: Target | None
    rate: int
    to_move: int
    started_at: int
    status: str
    failure: str
    taken: int
    outstanding: int
    moved: int
    label: str


class QueueHead(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What follows belongs to it, up to the next one."""

    id: QueueId
    name: str
    attributes: QueueAttributes
    created_at: WallMillis
    modified_at: WallMillis
    purged_at: WallMillis | None
    sent_total: int
    received_total: int
    deleted_total: int
    expired_total: int
    groups: tuple[GroupId, ...] = ()
    target: Target | None = None
    suspended_until: WallMillis | None = None
    moved_total: int = 0
    arrived_total: int = 0
    duplicates_total: int = 0
    moving: int = 0
    moves: tuple[MoveState, ...] = ()
    purged_index: int = 0


class Runs(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Columns. ``delay`` 0: visible, never received, of message group ``group``."""

    delay: int
    era: int
    keys: bytes
    sents: bytes
    counts: bytes
    group: str = ""


class Returned(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Columns."""

    keys: bytes
    sents: bytes
    firsts: bytes
    receipts: bytes
    counts: bytes
    group: str = ""


class Held(msgspec.Struct, frozen=True, array_like=True):
    """Messages in flight together: (key, sent at, first received at, number of deliveries)."""

    receipt: int
    received_at: int
    until: int
    rows: list[tuple[int, int, int, int]]
    group: str = ""


class InFlightBatches(msgspec.Struct, frozen=True, array_like=True, tag=5):
    batches: list[Held]


class End(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """``queues`` tells a whole dump from a truncated one."""

    queues: int


class Leavers(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Message groups, and how many of their messages are on their way to another queue."""

    groups: list[tuple[str, int]]


class Unripe(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Columns of the runs of a FIFO queue that are delayed."""

    era: int
    keys: bytes
    sents: bytes
    counts: bytes


class ScheduledRows(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Columns; ``groups``: positions in ``names``."""

    keys: bytes
    sents: bytes
    waits: bytes
    groups: bytes
    names: list[str]


class LifetimeRuns(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Columns of messages with a lifetime of their own."""

    lifetime: int
    era: int
    keys: bytes
    sents: bytes
    counts: bytes


class LifetimeOwners(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Keys of messages with a lifetime of their own and of a message group, and that group."""

    groups: list[tuple[int, str]]


class Remembered(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Deduplication: (digest, instant, key), oldest first."""

    entries: list[tuple[bytes, int, int]]


class RememberedAttempts(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Receive attempts: (id, instant, receipt, until, keys), oldest first."""

    entries: list[tuple[str, int, int, int, tuple[int, ...]]]


class OutboxItems(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Of the whole group, after the last queue. ``next_number`` as the outbox is now."""

    next_number: int
    items: list[tuple[int, Departure]]


class ArrivalsSeen(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Of the whole group, after the last queue: (source, highest number, refused numbers)."""

    sources: list[tuple[GroupId, int, list[tuple[int, Refusal]]]]


Part = (
    Begin
    | QueueHead
    | Runs
    | Returned
    | InFlightBatches
    | End
    | Leavers
    | Unripe
    | ScheduledRows
    | LifetimeRuns
    | LifetimeOwners
    | Remembered
    | RememberedAttempts
    | OutboxItems
    | ArrivalsSeen
)


def to_bytes(column: array[int]) -> bytes:
    if _BIG_ENDIAN:
        column = column[:]
        column.byteswap()
    return column.tobytes()


def from_bytes(typecode: str, data: bytes) -> array[int]:
    """Raises ValueError when ``data`` is no whole number of items."""
    column = array(typecode)
    column.frombytes(data)
    if _BIG_ENDIAN:
        column.byteswap()
    return column

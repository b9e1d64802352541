"""What a caller of the client hands in and gets back.

Durations are seconds and may be fractions; instants are seconds since the Unix epoch, as ``time.time()`` gives them;
sizes are bytes. Knows nothing of the wire, of channels, streams or retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypedDict

import msgspec

from broker.base.ids import MessageId
from broker.base.limits import (
    DEFAULT_DELAY,
    DEFAULT_MESSAGE_SIZE_LIMIT,
    DEFAULT_RECEIVE_WAIT,
    DEFAULT_RETENTION,
    DEFAULT_VISIBILITY_TIMEOUT,
)

Instant = datetime | float
"""A datetime with a time zone, or seconds since the Unix epoch."""
Per = Literal["queue", "message_group"]
Permission = Literal["allow_all", "deny_all", "by_queue"]
State = Literal["visible", "in_flight", "delayed"]
STATES: tuple[State, ...] = ("visible", "in_flight", "delayed")
"""What is scheduled is delayed."""
MoveStatus = Literal["running", "completed", "cancelled", "failed"]


def is_fifo(queue: str) -> bool:
    """Whether a queue of this name is a FIFO queue."""
    return queue.endswith(".fifo")


# --- messages


class SentMessage(msgspec.Struct, frozen=True):
    """A quorum of the cluster has the message on disk. ``sequence_number``: of FIFO queues. A duplicate is answered
    with what the message sent first was answered with."""

    id: MessageId
    sequence_number: int | None = None


class Attribute(msgspec.Struct, frozen=True):
    """``type`` is String, Number or Binary, optionally with a ``.custom`` label."""

    type: str
    value: bytes

    @property
    def text(self) -> str:
        """The value of a String or Number. Raises UnicodeDecodeError for a Binary that is no text."""
        return self.value.decode()


AttributeValue = str | bytes | int | float | Decimal | Attribute
"""str becomes a String, bytes a Binary, a number a Number; an Attribute stays what it is."""


class MessageOptions(TypedDict, total=False):
    """What ``send`` and ``enqueue`` take by keyword. None is the same as leaving it out.

    ``attributes``: at most 10. ``delay``: seconds until the message appears, 0-900, instead of the queue's.
    ``message_group``: required in FIFO queues; in a standard queue, groups with many messages in flight wait while
    others have messages. ``deduplication_id``: of FIFO queues, effective once in 5 minutes. ``deliver_at``: when the
    message appears, at most the queue's retention from now. ``time_to_live``: seconds after which it is gone, 1 to the
    queue's retention.
    """

    attributes: Mapping[str, AttributeValue] | None
    delay: float | None
    message_group: str | None
    deduplication_id: str | None
    deliver_at: Instant | None
    time_to_live: float | None


class OutgoingMessage(msgspec.Struct, frozen=True):
    """A message with more than a body, for ``send_many`` and ``exchange``. As MessageOptions tells."""

    body: bytes
    attributes: Mapping[str, AttributeValue] | None = None
    delay: float | None = None
    message_group: str | None = None
    deduplication_id: str | None = None
    deliver_at: Instant | None = None
    time_to_live: float | None = None


class Origin(msgspec.Struct, frozen=True):
    """Where a message was before it was moved to the queue: its queue, its id there, when it was sent there, and how
    often it was received there."""

    queue: str
    id: MessageId
    sent_at: float
    receive_count: int


class ReceivedMessage(msgspec.Struct, frozen=True):
    """One delivery of a message, as ``Client.receive`` returns it. ``receipt_handle`` deletes or extends it.
    ``sequence_number``: of FIFO queues."""

    id: MessageId
    receipt_handle: bytes
    body: bytes
    attributes: dict[str, Attribute]
    receive_count: int
    sent_at: float
    first_received_at: float
    message_group: str | None = None
    deduplication_id: str | None = None
    sequence_number: int | None = None
    origin: Origin | None = None


class BrowsedMessage(msgspec.Struct, frozen=True):
    """A message as it stands in its queue. ``until``: when that changes by time alone: one in flight becomes visible, a
    delayed one is due; None for a visible one. ``first_received_at``: None if never."""

    id: MessageId
    state: State
    body: bytes
    attributes: dict[str, Attribute]
    sent_at: float
    until: float | None
    receive_count: int
    first_received_at: float | None
    message_group: str | None
    deduplication_id: str | None
    origin: Origin | None


# --- queues


class RedrivePolicy(msgspec.Struct, frozen=True):
    """A message received ``max_receive_count`` times (1-1,000) and not deleted goes to the queue named ``target`` when
    it would be received again."""

    target: str
    max_receive_count: int


class RedriveAllowPolicy(msgspec.Struct, frozen=True):
    """Which queues may name this one as their dead-letter queue; ``sources``: at most 10 names, with "by_queue"."""

    permission: Permission = "allow_all"
    sources: tuple[str, ...] = ()


class QueueOptions(TypedDict, total=False):
    """What ``create_queue`` and ``update_queue`` take by keyword. None is the same as leaving it out: the default of a
    new queue, or as it is.

    ``visibility_timeout``: 0-43,200 s, default 30. ``delay``: 0-900 s, default 0. ``retention``: 60-1,209,600 s,
    default four days. ``message_size_limit``: 1,024-1,048,576 bytes, default 262,144. ``receive_wait``: 0-20 s,
    default 0.
    ``redrive``: where messages go that were received too often. ``redrive_allow``: whose dead letters are taken.
    ``stripes``: over how many groups of the cluster the queue is spread.

    Of FIFO queues: ``content_deduplication``: the SHA-256 of the body is the deduplication id of a message that has
    none. ``deduplication_scope``: among which messages an id is effective once. ``throughput_limit``: "message_group"
    is high throughput, and needs the same deduplication scope.
    """

    visibility_timeout: float | None
    delay: float | None
    retention: float | None
    message_size_limit: int | None
    receive_wait: float | None
    content_deduplication: bool | None
    deduplication_scope: Per | None
    throughput_limit: Per | None
    redrive: RedrivePolicy | None
    redrive_allow: RedriveAllowPolicy | None
    stripes: int | None


class QueueAttributes(msgspec.Struct, frozen=True):
    """How a queue behaves, as QueueOptions tells. The defaults are the broker's."""

    visibility_timeout: float = DEFAULT_VISIBILITY_TIMEOUT / 1000
    delay: float = DEFAULT_DELAY / 1000
    retention: float = DEFAULT_RETENTION / 1000
    message_size_limit: int = DEFAULT_MESSAGE_SIZE_LIMIT
    receive_wait: float = DEFAULT_RECEIVE_WAIT / 1000
    content_deduplication: bool = False
    deduplication_scope: Per = "queue"
    throughput_limit: Per = "queue"
    redrive: RedrivePolicy | None = None
    redrive_allow: RedriveAllowPolicy = RedriveAllowPolicy()
    stripes: int = 1


class QueueCounts(msgspec.Struct, frozen=True):
    """Exact numbers of messages. ``oldest_age`` in seconds; None when the queue is empty. ``delayed``: with those that
    are scheduled. ``moved_total`` to and ``arrived_total`` from other queues; ``moving``: of the moved ones, those not
    confirmed yet. ``duplicates_total``: sends that deduplication made ineffective. ``message_groups``: that have
    messages."""

    visible: int
    in_flight: int
    delayed: int
    oldest_age: float | None
    sent_total: int
    received_total: int
    deleted_total: int
    expired_total: int
    moving: int = 0
    moved_total: int = 0
    arrived_total: int = 0
    duplicates_total: int = 0
    message_groups: int = 0


class QueueDescription(msgspec.Struct, frozen=True):
    """A queue as one strong read saw it. ``leader`` is the node that leads the queue's home ``group``; ``groups`` are
    all over which it is spread. ``redrive_target``: the dead-letter queue in effect. ``redrive_suspended_until``:
    moving dead letters failed; until then they stay and are delivered."""

    name: str
    attributes: QueueAttributes
    counts: QueueCounts
    created_at: float
    modified_at: float
    group: int
    leader: str
    groups: tuple[int, ...] = ()
    redrive_target: str | None = None
    redrive_suspended_until: float | None = None


class MessageGroup(msgspec.Struct, frozen=True):
    """How many of a message group's messages wait (visible or delayed) and are in flight."""

    name: str
    waiting: int
    in_flight: int


class Census(msgspec.Struct, frozen=True):
    """How old a queue's messages are, and whose. ``ages`` by state: how many are at most as old as each of
    ``age_bounds`` (seconds, ascending) and older than the one before it, and at last those older than all.
    ``message_groups``: the largest, the largest first."""

    age_bounds: tuple[float, ...]
    ages: dict[str, tuple[int, ...]]
    message_groups: tuple[MessageGroup, ...]
    at: float


class Move(msgspec.Struct, frozen=True):
    """A move task. ``destination`` None: each message to where it came from. ``rate``: messages a second; None: as fast
    as they are taken in. ``to_move``: how many there were when it began. ``failure``: why it failed."""

    task: str
    status: MoveStatus
    destination: str | None
    rate: int | None
    moved: int
    to_move: int
    started_at: float
    failure: str | None

"""What a queue, a message and a delivery are made of: the words that commands, replies and questions share.

Encoded with msgspec as arrays. Fields are only ever appended, with defaults, so that nodes of two versions can share a
log. Times in milliseconds, instants in milliseconds since the Unix epoch, sizes in bytes.
"""

from __future__ import annotations

import msgspec

from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import (
    DEFAULT_DELAY,
    DEFAULT_MESSAGE_SIZE_LIMIT,
    DEFAULT_RECEIVE_WAIT,
    DEFAULT_RETENTION,
    DEFAULT_VISIBILITY_TIMEOUT,
)

FIFO_SUFFIX = ".fifo"
NAMESPACE = "~"
"""Begins the names of queues that belong to a namespace, and stands in no other name: ``~ACCOUNT~REGION~NAME``."""
PER_QUEUE, PER_MESSAGE_GROUP = "queue", "message_group"
ALLOW_ALL, DENY_ALL, BY_QUEUE = "allow_all", "deny_all", "by_queue"
VISIBLE, IN_FLIGHT, DELAYED = "visible", "in_flight", "delayed"
STATES = (VISIBLE, IN_FLIGHT, DELAYED)


def is_fifo(name: str) -> bool:
    """Whether a queue of this name is a FIFO queue."""
    return name.endswith(FIFO_SUFFIX)


class Attribute(msgspec.Struct, frozen=True, array_like=True):
    """A typed message attribute: ``type`` is String, Number or Binary, optionally with a ``.custom`` label."""

    name: str
    type: str
    value: bytes


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Where a message that was moved here lived before: ``queue`` by name and id, ``group`` holding it there;
    ``message``: its 16-byte id there, ``sent_at``: when it was sent there, ``receive_count``: how often received."""

    queue: str
    id: QueueId
    group: GroupId
    message: bytes
    sent_at: WallMillis
    receive_count: int


class Message(msgspec.Struct, frozen=True, array_like=True):
    """What a sender sent. Stored once, in the log, inside the Send or Arrive command. ``trace``: the sender's trace
    context, told to whoever receives it, or ""."""

    body: bytes
    attributes: tuple[Attribute, ...] = ()
    origin: Origin | None = None
    trace: str = ""

    def size(self) -> int:
        """Bytes counted against the limit: body plus names, types and values of the attributes, not the trace."""
        size = len(self.body)
        for each in self.attributes:
            size += len(each.name.encode()) + len(each.type.encode()) + len(each.value)
        return size


class RedrivePolicy(msgspec.Struct, frozen=True, array_like=True):
    """A message received ``max_receive_count`` times and not deleted goes to the queue named ``target`` when it would
    be received again."""

    target: str
    max_receive_count: int


class RedriveAllowPolicy(msgspec.Struct, frozen=True, array_like=True):
    """Which queues may name this one as their dead-letter queue: ALLOW_ALL, DENY_ALL, or BY_QUEUE with ``sources``."""

    permission: str = ALLOW_ALL
    sources: tuple[str, ...] = ()


class QueueAttributes(msgspec.Struct, frozen=True, array_like=True):
    """Times in milliseconds, sizes in bytes.

    Of FIFO queues only: ``content_deduplication``, ``deduplication_scope`` and ``throughput_limit`` (PER_QUEUE or
    PER_MESSAGE_GROUP). ``stripes``: over how many groups the queue is spread. ``tags`` and ``kept`` by key, ascending:
    the owner's labels, and what a front door keeps for its callers; nothing here acts upon either.
    """

    visibility_timeout: Millis = DEFAULT_VISIBILITY_TIMEOUT
    delay: Millis = DEFAULT_DELAY
    retention: Millis = DEFAULT_RETENTION
    message_size_limit: int = DEFAULT_MESSAGE_SIZE_LIMIT
    receive_wait: Millis = DEFAULT_RECEIVE_WAIT
    content_deduplication: bool = False
    deduplication_scope: str = PER_QUEUE
    throughput_limit: str = PER_QUEUE
    redrive: RedrivePolicy | None = None
    redrive_allow: RedriveAllowPolicy = RedriveAllowPolicy()
    stripes: int = 1
    tags: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()


class Target(msgspec.Struct, frozen=True, array_like=True):
    """A queue that messages are moved to, found: ``groups`` are those of its stripes, the home group first."""

    name: str
    id: QueueId
    groups: tuple[GroupId, ...]


class Handle(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One delivery of one message: where the message is, and ``receipt``, the log index of the receive that made it.
    A message received again has another receipt, so a stale handle never matches."""

    index: int
    slot: int
    receipt: int


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """Exact, O(1). ``oldest_sent_at``: of the oldest message not yet deleted, or None when the queue is empty.

    At every moment sent_total + arrived_total = visible + in_flight + delayed + deleted_total + expired_total +
    moved_total. ``delayed`` includes what is scheduled. ``moving``: of moved_total, those that the far side has not yet
    confirmed. ``duplicates_total``: sends that deduplication made ineffective, counted nowhere else.
    """

    visible: int
    in_flight: int
    delayed: int
    oldest_sent_at: WallMillis | None
    sent_total: int
    received_total: int
    deleted_total: int
    expired_total: int
    moving: int = 0
    moved_total: int = 0
    arrived_total: int = 0
    duplicates_total: int = 0
    message_groups: int = 0
    """Named ones that have messages."""


class Described(msgspec.Struct, frozen=True, array_like=True):
    """``groups``: those of the queue's stripes, the home group first. ``redrive_suspended_until``: moving dead letters
    failed; until then they stay and are delivered."""

    queue: QueueId
    name: str
    attributes: QueueAttributes
    created_at: WallMillis
    modified_at: WallMillis
    groups: tuple[GroupId, ...] = ()
    target: Target | None = None
    redrive_suspended_until: WallMillis | None = None

"""What a queue machine can be told, asked, and what it answers.

Encoded with msgspec as arrays; the tag says which. Fields are only ever appended, with defaults, so that nodes of two
versions can share a log.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import (
    DEFAULT_DELAY,
    DEFAULT_MESSAGE_SIZE_LIMIT,
    DEFAULT_RECEIVE_WAIT,
    DEFAULT_RETENTION,
    DEFAULT_VISIBILITY_TIMEOUT,
)


class Attribute(msgspec.Struct, frozen=True, array_like=True):
    """A typed message attribute: ``type`` is String, Number or Binary, optionally with a ``.custom`` label."""

    name: str
    type: str
    value: bytes


class Message(msgspec.Struct, frozen=True, array_like=True):
    """What a sender sent. Stored once, in the log, inside the Send command."""

    body: bytes
    attributes: tuple[Attribute, ...] = ()

    def size(self) -> int:
        """Bytes counted against the limit: body plus names, types and values of the attributes."""
        return len(self.body) + sum(len(a.name.encode()) + len(a.type.encode()) + len(a.value) for a in self.attributes)


class QueueAttributes(msgspec.Struct, frozen=True, array_like=True):
    """Times in milliseconds, sizes in bytes."""

    visibility_timeout: Millis = DEFAULT_VISIBILITY_TIMEOUT
    delay: Millis = DEFAULT_DELAY
    retention: Millis = DEFAULT_RETENTION
    message_size_limit: int = DEFAULT_MESSAGE_SIZE_LIMIT
    receive_wait: Millis = DEFAULT_RECEIVE_WAIT


class Handle(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One delivery of one message: where the message is, and ``receipt``, the log index of the receive that made it.
    A message received again has another receipt, so a stale handle never matches."""

    index: int
    slot: int
    receipt: int


# --- commands


class _Command(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId


class CreateQueue(_Command, frozen=True, tag=1):
    """Idempotent for equal attributes; refuses QueueExists for others."""

    name: str
    attributes: QueueAttributes


class UpdateQueue(_Command, frozen=True, tag=2):
    attributes: QueueAttributes


class DeleteQueue(_Command, frozen=True, tag=3):
    pass


class PurgeQueue(_Command, frozen=True, tag=4):
    """Drops every message sent before it. Refuses PurgeInProgress within limits.PURGE_INTERVAL of the last one."""


class Send(_Command, frozen=True, tag=5):
    """``count`` messages, encoded in ``messages`` as an array, which apply does not decode: slot k is its k-th element.

    ``largest``: size of the largest, checked against the queue's limit; the whole command is refused beyond it
    (MessageTooLong), the proposer having checked each message before. ``delays``: milliseconds per message, or None
    when all take the queue's delay.
    """

    count: int
    largest: int
    delays: tuple[int, ...] | None
    messages: msgspec.Raw


class Receive(_Command, frozen=True, tag=6):
    """Takes up to ``max_messages`` visible messages in flight. None: the queue's visibility timeout."""

    max_messages: int
    visibility_timeout: Millis | None = None


class Delete(_Command, frozen=True, tag=7):
    """Per handle: done, also when the message is gone already; ReceiptHandleExpired when another delivery holds it."""

    handles: tuple[Handle, ...]


class ChangeVisibility(_Command, frozen=True, tag=8):
    """Per handle: the message stays invisible for ``timeouts[k]`` ms from now; 0 makes it visible at once."""

    handles: tuple[Handle, ...]
    timeouts: tuple[Millis, ...]


Command = CreateQueue | UpdateQueue | DeleteQueue | PurgeQueue | Send | Receive | Delete | ChangeVisibility

# --- replies (base.errors.Refusal is the other possible reply to each)


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    pass


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The messages' ids are (group, ``index``, 0 .. ``count`` - 1)."""

    index: int
    count: int
    at: WallMillis


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """A message handed out. Its content is slot ``slot`` of the Send command in entry ``index``."""

    index: int
    slot: int
    receipt: int
    receive_count: int
    sent_at: WallMillis
    first_received_at: WallMillis


class Deliveries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Empty when nothing is visible. ``until``: when the visibility timeout ends."""

    deliveries: tuple[Delivery, ...]
    until: WallMillis


class Results(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Of a batch of handles: the positions that were refused; all others are done."""

    refused: tuple[tuple[int, Refusal], ...] = ()


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=5):
    refusal: Refusal


Reply = Done | Sent | Deliveries | Results | Refused

# --- questions


class CountsOf(msgspec.Struct, frozen=True, array_like=True, tag=1):
    queue: QueueId


class AttributesOf(msgspec.Struct, frozen=True, array_like=True, tag=2):
    queue: QueueId


class HasVisible(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Would a Receive at this time find anything? Answered from memory, without counting."""

    queue: QueueId


class AllQueues(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Every queue of the group, by id. Answer: a list of (Described, Counts)."""


Question = CountsOf | AttributesOf | HasVisible | AllQueues


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """Exact, O(1). ``oldest_sent_at``: of the oldest message not yet deleted, or None when the queue is empty."""

    visible: int
    in_flight: int
    delayed: int
    oldest_sent_at: WallMillis | None
    sent_total: int
    received_total: int
    deleted_total: int
    expired_total: int


class Described(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    name: str
    attributes: QueueAttributes
    created_at: WallMillis
    modified_at: WallMillis

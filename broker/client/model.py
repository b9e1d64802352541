"""What a caller of the client hands in and gets back.

Durations are seconds and may be fractions; instants are seconds since the Unix epoch, as ``time.time()`` gives them;
sizes are bytes. The milliseconds of the wire stay inside the client. Knows nothing of channels, streams or retries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from broker.base.errors import InvalidArgument, MessageTooLong
from broker.base.ids import MessageId
from broker.base.limits import (
    DEFAULT_DELAY,
    DEFAULT_MESSAGE_SIZE_LIMIT,
    DEFAULT_RECEIVE_WAIT,
    DEFAULT_RETENTION,
    DEFAULT_VISIBILITY_TIMEOUT,
    MAX_MESSAGE_SIZE,
)
from broker.pb.queues.v1 import queues_pb2


class SentMessage(msgspec.Struct, frozen=True):
    """A quorum of the cluster has the message on disk."""

    id: MessageId


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


class OutgoingMessage(msgspec.Struct, frozen=True):
    """A message with more than a body, for ``send_many``. ``delay`` in seconds; None: the queue's."""

    body: bytes
    attributes: Mapping[str, AttributeValue] | None = None
    delay: float | None = None


class QueueAttributes(msgspec.Struct, frozen=True):
    """How a queue behaves: seconds and bytes. The defaults are the broker's."""

    visibility_timeout: float = DEFAULT_VISIBILITY_TIMEOUT / 1000
    delay: float = DEFAULT_DELAY / 1000
    retention: float = DEFAULT_RETENTION / 1000
    message_size_limit: int = DEFAULT_MESSAGE_SIZE_LIMIT
    receive_wait: float = DEFAULT_RECEIVE_WAIT / 1000


class QueueCounts(msgspec.Struct, frozen=True):
    """Exact numbers of messages. ``oldest_age`` in seconds; None when the queue is empty."""

    visible: int
    in_flight: int
    delayed: int
    oldest_age: float | None
    sent_total: int
    received_total: int
    deleted_total: int
    expired_total: int


class QueueDescription(msgspec.Struct, frozen=True):
    """A queue as one strong read saw it. ``leader`` is the node that leads the queue's ``group``."""

    name: str
    attributes: QueueAttributes
    counts: QueueCounts
    created_at: float
    modified_at: float
    group: int
    leader: str


class ReceivedMessage(msgspec.Struct, frozen=True):
    """One delivery of a message, as ``Client.receive`` returns it. ``receipt_handle`` deletes or extends it."""

    id: MessageId
    receipt_handle: bytes
    body: bytes
    attributes: dict[str, Attribute]
    receive_count: int
    sent_at: float
    first_received_at: float


class Entry(msgspec.Struct, frozen=True):
    """An outgoing message that was checked and waits for its frame. ``size`` as the broker counts it."""

    body: bytes
    size: int
    attributes: tuple[tuple[str, Attribute], ...] = ()
    delay_ms: int | None = None


def to_millis(seconds: float, what: str) -> int:
    """Raises InvalidArgument for what is not a number of seconds from 0."""
    if isinstance(seconds, bool) or not math.isfinite(seconds) or seconds < 0:
        raise InvalidArgument(f"{what} is {seconds!r}; it must be a number of seconds, 0 or more")
    return round(seconds * 1000)


def entry(body: bytes, attributes: Mapping[str, AttributeValue] | None, delay: float | None) -> Entry:
    """Raises InvalidArgument for what is no message, MessageTooLong beyond the limit of every queue."""
    if type(body) is not bytes:
        raise InvalidArgument(f"a message's body must be bytes, this is {type(body).__name__}; str needs .encode()")
    size = len(body)
    checked: tuple[tuple[str, Attribute], ...] = ()
    if attributes:
        checked = tuple((name, attribute(name, value)) for name, value in attributes.items())
        size += sum(len(name.encode()) + len(value.type.encode()) + len(value.value) for name, value in checked)
    if size > MAX_MESSAGE_SIZE:
        raise MessageTooLong(
            f"the message has {size:,} bytes with its attributes; no queue takes more than {MAX_MESSAGE_SIZE:,}. "
            "Store the content elsewhere and send its address"
        )
    return Entry(body, size, checked, None if delay is None else to_millis(delay, "delay"))


def attribute(name: str, value: AttributeValue) -> Attribute:
    """Raises InvalidArgument for a value that is no attribute."""
    match value:
        case Attribute():
            return value
        case str():
            return Attribute("String", value.encode())
        case bytes():
            return Attribute("Binary", value)
        case int() | float() | Decimal() if not isinstance(value, bool):
            return Attribute("Number", str(value).encode())
        case _:
            raise InvalidArgument(
                f"attribute {name!r} is a {type(value).__name__}; use str, bytes, a number or an Attribute"
            )


def attributes_of(delivered: queues_pb2.DeliveredMessage) -> dict[str, Attribute]:
    return {found.name: Attribute(found.type, found.value) for found in delivered.attributes}


def received(delivered: queues_pb2.DeliveredMessage) -> ReceivedMessage:
    return ReceivedMessage(
        MessageId.from_bytes(delivered.message_id),
        delivered.receipt_handle,
        delivered.body,
        attributes_of(delivered),
        delivered.receive_count,
        delivered.sent_at / 1000,
        delivered.first_received_at / 1000,
    )


def described(queue: queues_pb2.QueueDescription) -> QueueDescription:
    attributes, counts = queue.attributes, queue.counts
    return QueueDescription(
        name=queue.name,
        attributes=QueueAttributes(
            attributes.visibility_timeout_ms / 1000,
            attributes.delay_ms / 1000,
            attributes.retention_ms / 1000,
            attributes.message_size_limit,
            attributes.receive_wait_ms / 1000,
        ),
        counts=QueueCounts(
            counts.visible,
            counts.in_flight,
            counts.delayed,
            counts.oldest_age_ms / 1000 if counts.HasField("oldest_age_ms") else None,
            counts.sent_total,
            counts.received_total,
            counts.deleted_total,
            counts.expired_total,
        ),
        created_at=queue.created_at / 1000,
        modified_at=queue.modified_at / 1000,
        group=queue.group,
        leader=queue.leader,
    )

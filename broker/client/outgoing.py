"""Messages on their way out: checked once when they are handed over, written into requests when these go.

A message that is nothing but a body, the ordinary one, is checked and written without looking at what it does not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from broker.base.errors import InvalidArgument, MessageTooLong
from broker.base.limits import MAX_MESSAGE_SIZE
from broker.client.model import Attribute, AttributeValue, MessageOptions, OutgoingMessage
from broker.client.units import to_epoch_millis, to_millis
from broker.pb.queues.v1 import queues_pb2

Messages = queues_pb2.ProduceRequest | queues_pb2.ExchangeRequest


class Extras(msgspec.Struct, frozen=True):
    """What a message has beside its body, in the units of the wire: None, "" or 0 where it has not."""

    attributes: tuple[tuple[str, Attribute], ...]
    delay_ms: int | None
    message_group: str
    deduplication_id: str
    deliver_at: int
    time_to_live_ms: int


_NOTHING_MORE = Extras((), None, "", "", 0, 0)


class Entry(msgspec.Struct, frozen=True):
    """An outgoing message that was checked and waits for its frame. ``size`` as the broker counts it."""

    body: bytes
    size: int
    extras: Extras | None = None


def entry(body: bytes, options: MessageOptions) -> Entry:
    """Raises InvalidArgument for what is no message, MessageTooLong beyond the limit of every queue."""
    if options:
        return entry_of(OutgoingMessage(body, **options))
    _check_body(body)
    return Entry(body, _checked_size(len(body)))


def entry_of(message: bytes | OutgoingMessage) -> Entry:
    """As ``entry``."""
    if not isinstance(message, OutgoingMessage):
        return entry(message, {})
    _check_body(message.body)
    attributes = tuple((name, attribute(name, value)) for name, value in (message.attributes or {}).items())
    size = len(message.body)
    size += sum(len(name.encode()) + len(value.type.encode()) + len(value.value) for name, value in attributes)
    if message.deliver_at is not None and message.delay is not None:
        raise InvalidArgument("deliver_at and delay were given for one message: give one of the two")
    extras = Extras(
        attributes,
        None if message.delay is None else to_millis(message.delay, "delay"),
        message.message_group or "",
        message.deduplication_id or "",
        0 if message.deliver_at is None else to_epoch_millis(message.deliver_at, "deliver_at"),
        0 if message.time_to_live is None else to_millis(message.time_to_live, "time_to_live", least=0.001),
    )
    return Entry(message.body, _checked_size(size), None if extras == _NOTHING_MORE else extras)


def add(entries: Iterable[Entry], to: Messages) -> None:
    """Writes them into the request's ``messages``."""
    new = to.messages.add
    for each in entries:
        extras = each.extras
        if extras is None:
            new(body=each.body)
            continue
        message = new(
            body=each.body,
            delay_ms=extras.delay_ms,
            message_group=extras.message_group,
            deduplication_id=extras.deduplication_id,
            deliver_at=extras.deliver_at,
            time_to_live_ms=extras.time_to_live_ms,
        )
        for name, found in extras.attributes:
            message.attributes.add(name=name, type=found.type, value=found.value)


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


def _check_body(body: object) -> None:
    if type(body) is not bytes:
        raise InvalidArgument(f"a message's body must be bytes, this is {type(body).__name__}; str needs .encode()")


def _checked_size(size: int) -> int:
    if size > MAX_MESSAGE_SIZE:
        raise MessageTooLong(
            f"the message has {size:,} bytes with its attributes; no queue takes more than {MAX_MESSAGE_SIZE:,}. "
            "Store the content elsewhere and send its address"
        )
    return size

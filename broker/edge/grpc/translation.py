"""Between protobuf messages and the structs of the services: fields in, fields out, nothing decided.

On the way of every message, so it reads each field once.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.base.errors import InvalidArgument
from broker.base.instants import Millis
from broker.domain.queues.model import Attribute, Message, QueueAttributes
from broker.domain.queues.validation import check_visibility_timeout
from broker.machine.envelope import RequestId
from broker.pb.queues.v1 import queues_pb2
from broker.services.administering import AttributeChanges, Description
from broker.services.outgoing import Outgoing, OutgoingMessage, pack, pack_bodies
from broker.services.receiving import Received
from broker.services.request_ids import SESSION_BYTES

_MAX_NUMBER = 2**63 - 1


def request_id(message: object, given: queues_pb2.RequestId) -> RequestId | None:
    """None when ``message`` carries none. Raises InvalidArgument."""
    if not message.HasField("request_id"):  # type: ignore[attr-defined]  # every request that has the field
        return None
    return RequestId(session(given.session), number("request_id.number", given.number))


def session(given: bytes) -> bytes:
    """Raises InvalidArgument."""
    if len(given) != SESSION_BYTES:
        raise InvalidArgument(f"a session is {SESSION_BYTES} random bytes, this has {len(given)}")
    return given


def number(what: str, given: int) -> int:
    """Raises InvalidArgument."""
    if given > _MAX_NUMBER:
        raise InvalidArgument(f"{what} is at most {_MAX_NUMBER}, not {given}")
    return given


def visibility_timeout(given: int) -> Millis:
    """Raises InvalidArgument."""
    check_visibility_timeout(given)
    return Millis(given)


def attribute_changes(given: queues_pb2.QueueAttributes) -> AttributeChanges:
    def field(name: str) -> int | None:
        return getattr(given, name) if given.HasField(name) else None  # type: ignore[arg-type]

    def millis(name: str) -> Millis | None:
        value = field(name)
        return None if value is None else Millis(value)

    return AttributeChanges(
        visibility_timeout=millis("visibility_timeout_ms"),
        delay=millis("delay_ms"),
        retention=millis("retention_ms"),
        message_size_limit=field("message_size_limit"),
        receive_wait=millis("receive_wait_ms"),
    )


def queue_attributes(attributes: QueueAttributes) -> queues_pb2.QueueAttributes:
    return queues_pb2.QueueAttributes(
        visibility_timeout_ms=attributes.visibility_timeout,
        delay_ms=attributes.delay,
        retention_ms=attributes.retention,
        message_size_limit=attributes.message_size_limit,
        receive_wait_ms=attributes.receive_wait,
    )


def description(found: Description) -> queues_pb2.QueueDescription:
    counts = found.counts
    oldest = counts.oldest_sent_at
    return queues_pb2.QueueDescription(
        name=found.queue.name,
        attributes=queue_attributes(found.queue.attributes),
        counts=queues_pb2.QueueCounts(
            visible=counts.visible,
            in_flight=counts.in_flight,
            delayed=counts.delayed,
            oldest_age_ms=None if oldest is None else max(0, found.at - oldest),
            sent_total=counts.sent_total,
            received_total=counts.received_total,
            deleted_total=counts.deleted_total,
            expired_total=counts.expired_total,
        ),
        created_at=found.queue.created_at,
        modified_at=found.queue.modified_at,
        group=found.group,
        leader=found.leader,
    )


def outgoing(messages: Sequence[queues_pb2.OutgoingMessage]) -> Outgoing:
    """Raises BatchEmpty, BatchTooLarge."""
    bodies: list[bytes] = []
    for message in messages:
        if message.attributes or message.HasField("delay_ms"):
            return _outgoing_with_more(messages)
        bodies.append(message.body)
    return pack_bodies(bodies)


def _outgoing_with_more(messages: Sequence[queues_pb2.OutgoingMessage]) -> Outgoing:
    return pack(
        [
            OutgoingMessage(
                Message(
                    message.body,
                    tuple(Attribute(given.name, given.type, given.value) for given in message.attributes),
                ),
                message.delay_ms if message.HasField("delay_ms") else None,
            )
            for message in messages
        ]
    )


def add_delivered(to: queues_pb2.ReceiveResponse | queues_pb2.ConsumeResponse, messages: list[Received]) -> None:
    add = to.messages.add
    for message in messages:
        made = add(
            message_id=message.id,
            receipt_handle=message.handle,
            body=message.body,
            receive_count=message.receive_count,
            sent_at=message.sent_at,
            first_received_at=message.first_received_at,
        )
        if message.attributes:
            made.attributes.extend(
                queues_pb2.MessageAttribute(name=each.name, type=each.type, value=each.value)
                for each in message.attributes
            )

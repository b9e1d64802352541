"""Between protobuf messages and the structs of the services: requests and messages, fields in, fields out.

On the way of every message, so it reads each field once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from broker.base.errors import InvalidArgument
from broker.base.instants import Millis
from broker.domain.queues.model import Attribute, Message, Origin
from broker.domain.queues.validation import check_visibility_timeout
from broker.machine.envelope import RequestId
from broker.pb.queues.v1 import queues_pb2
from broker.services.outgoing import Outgoing, OutgoingMessage, pack, pack_bodies
from broker.services.receiving import Received
from broker.services.request_ids import SESSION_BYTES

_MAX_NUMBER = 2**63 - 1
_BODY = queues_pb2.OutgoingMessage.DESCRIPTOR.fields_by_name["body"]


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


def outgoing(messages: Sequence[queues_pb2.OutgoingMessage]) -> Outgoing:
    """Raises BatchEmpty, BatchTooLarge."""
    bodies: list[bytes] = []
    for message in messages:
        fields = message.ListFields()  # one look at what is set: asking for each field that is not costs more
        if len(fields) != 1 or fields[0][0] is not _BODY:
            return _outgoing_with_more(messages)
        bodies.append(fields[0][1])
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
                message.message_group,
                message.deduplication_id,
                message.deliver_at,
                message.time_to_live_ms,
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
            made.attributes.extend(attributes(message.attributes))
        if message.group:
            made.message_group = message.group
            made.deduplication_id = message.deduplication
            made.sequence_number = message.sequence_number
        if message.origin is not None:
            made.origin.CopyFrom(origin(message.origin))


def attributes(of_message: Iterable[Attribute]) -> Iterator[queues_pb2.MessageAttribute]:
    return (queues_pb2.MessageAttribute(name=each.name, type=each.type, value=each.value) for each in of_message)


def origin(found: Origin) -> queues_pb2.Origin:
    return queues_pb2.Origin(
        queue=found.queue, message_id=found.message, sent_at=found.sent_at, receive_count=found.receive_count
    )

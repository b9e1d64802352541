"""From the broker's answers to what a caller of the client gets: fields in, fields out, milliseconds to seconds."""

from __future__ import annotations

from typing import Any

from broker.base.errors import InvalidArgument
from broker.base.ids import MessageId
from broker.client.model import (
    Attribute,
    BrowsedMessage,
    Census,
    MessageGroup,
    Move,
    MoveStatus,
    Origin,
    Per,
    Permission,
    QueueAttributes,
    QueueCounts,
    QueueDescription,
    QueueOptions,
    ReceivedMessage,
    RedriveAllowPolicy,
    RedrivePolicy,
    State,
)
from broker.client.units import to_count, to_millis
from broker.pb.queues.v1 import queues_pb2

_PER: dict[Per, queues_pb2.Per.ValueType] = {
    "queue": queues_pb2.PER_QUEUE,
    "message_group": queues_pb2.PER_MESSAGE_GROUP,
}
_PERMISSIONS: dict[Permission, queues_pb2.RedrivePermission.ValueType] = {
    "allow_all": queues_pb2.REDRIVE_PERMISSION_ALLOW_ALL,
    "deny_all": queues_pb2.REDRIVE_PERMISSION_DENY_ALL,
    "by_queue": queues_pb2.REDRIVE_PERMISSION_BY_QUEUE,
}
_STATES: dict[State, queues_pb2.MessageState.ValueType] = {
    "visible": queues_pb2.MESSAGE_STATE_VISIBLE,
    "in_flight": queues_pb2.MESSAGE_STATE_IN_FLIGHT,
    "delayed": queues_pb2.MESSAGE_STATE_DELAYED,
}
_MOVE_STATUS: dict[int, MoveStatus] = {
    queues_pb2.MOVE_STATUS_RUNNING: "running",
    queues_pb2.MOVE_STATUS_COMPLETED: "completed",
    queues_pb2.MOVE_STATUS_CANCELLED: "cancelled",
    queues_pb2.MOVE_STATUS_FAILED: "failed",
}
_PER_WORDS: dict[int, Per] = {number: word for word, number in _PER.items()}
_PERMISSION_WORDS: dict[int, Permission] = {number: word for word, number in _PERMISSIONS.items()}
_STATE_WORDS: dict[int, State] = {number: word for word, number in _STATES.items()}


# --- out


def wire_attributes(options: QueueOptions) -> queues_pb2.QueueAttributes:
    """What is None or left out stays unset. Raises InvalidArgument."""

    def millis(seconds: float | None, what: str) -> int | None:
        return None if seconds is None else to_millis(seconds, what)

    def count(number: int | None, what: str) -> int | None:
        return None if number is None else to_count(number, what)

    redrive, allow = options.get("redrive"), options.get("redrive_allow")
    return queues_pb2.QueueAttributes(
        visibility_timeout_ms=millis(options.get("visibility_timeout"), "visibility_timeout"),
        delay_ms=millis(options.get("delay"), "delay"),
        retention_ms=millis(options.get("retention"), "retention"),
        message_size_limit=count(options.get("message_size_limit"), "message_size_limit"),
        receive_wait_ms=millis(options.get("receive_wait"), "receive_wait"),
        content_deduplication=options.get("content_deduplication"),
        deduplication_scope=_number_of("deduplication_scope", options.get("deduplication_scope"), _PER),
        throughput_limit=_number_of("throughput_limit", options.get("throughput_limit"), _PER),
        redrive=None if redrive is None else _redrive(redrive),
        redrive_allow=None if allow is None else _redrive_allow(allow),
        stripes=count(options.get("stripes"), "stripes"),
    )


def wire_state(state: str) -> Any:
    """Raises InvalidArgument."""
    return _number_of("state", state, _STATES)


def _redrive(policy: RedrivePolicy) -> queues_pb2.RedrivePolicy:
    most = to_count(policy.max_receive_count, "max_receive_count")
    return queues_pb2.RedrivePolicy(target=policy.target, max_receive_count=most)


def _redrive_allow(policy: RedriveAllowPolicy) -> queues_pb2.RedriveAllowPolicy:
    permission = _number_of("redrive permission", policy.permission, _PERMISSIONS)
    return queues_pb2.RedriveAllowPolicy(permission=permission, sources=policy.sources)


def _number_of(what: str, word: str | None, known: Any) -> Any:
    if word is not None and word not in known:
        raise InvalidArgument(f"{what} is {word!r}; it must be one of {', '.join(map(repr, known))}")
    return known.get(word)


# --- in


def attributes_of(message: queues_pb2.DeliveredMessage | queues_pb2.BrowsedMessage) -> dict[str, Attribute]:
    return {found.name: Attribute(found.type, found.value) for found in message.attributes}


def origin_of(message: queues_pb2.DeliveredMessage | queues_pb2.BrowsedMessage) -> Origin | None:
    if not message.HasField("origin"):
        return None
    found = message.origin
    return Origin(found.queue, MessageId.from_bytes(found.message_id), found.sent_at / 1000, found.receive_count)


def received(delivered: queues_pb2.DeliveredMessage) -> ReceivedMessage:
    return ReceivedMessage(
        MessageId.from_bytes(delivered.message_id),
        delivered.receipt_handle,
        delivered.body,
        attributes_of(delivered),
        delivered.receive_count,
        delivered.sent_at / 1000,
        delivered.first_received_at / 1000,
        delivered.message_group or None,
        delivered.deduplication_id or None,
        delivered.sequence_number or None,
        origin_of(delivered),
    )


def browsed(message: queues_pb2.BrowsedMessage) -> BrowsedMessage:
    return BrowsedMessage(
        MessageId.from_bytes(message.message_id),
        _STATE_WORDS[message.state],
        message.body,
        attributes_of(message),
        message.sent_at / 1000,
        message.until / 1000 if message.until else None,
        message.receive_count,
        message.first_received_at / 1000 if message.first_received_at else None,
        message.message_group or None,
        message.deduplication_id or None,
        origin_of(message),
    )


def census_of(response: queues_pb2.CensusResponse) -> Census:
    return Census(
        tuple(bound / 1000 for bound in response.age_bounds_ms),
        {_STATE_WORDS[found.state]: tuple(found.counts) for found in response.ages},
        tuple(MessageGroup(found.message_group, found.waiting, found.in_flight) for found in response.message_groups),
        response.at / 1000,
    )


def move_of(move: queues_pb2.Move) -> Move:
    return Move(
        move.task,
        _MOVE_STATUS[move.status],
        move.destination or None,
        move.messages_per_second or None,
        move.moved,
        move.to_move,
        move.started_at / 1000,
        move.failure or None,
    )


def described(queue: queues_pb2.QueueDescription) -> QueueDescription:
    suspended = queue.redrive_suspended_until
    return QueueDescription(
        name=queue.name,
        attributes=_attributes(queue.attributes),
        counts=_counts(queue.counts),
        created_at=queue.created_at / 1000,
        modified_at=queue.modified_at / 1000,
        group=queue.group,
        leader=queue.leader,
        groups=tuple(queue.groups),
        redrive_target=queue.redrive_target or None,
        redrive_suspended_until=suspended / 1000 if queue.HasField("redrive_suspended_until") else None,
    )


def _attributes(found: queues_pb2.QueueAttributes) -> QueueAttributes:
    redrive, allow = found.redrive, found.redrive_allow
    return QueueAttributes(
        visibility_timeout=found.visibility_timeout_ms / 1000,
        delay=found.delay_ms / 1000,
        retention=found.retention_ms / 1000,
        message_size_limit=found.message_size_limit,
        receive_wait=found.receive_wait_ms / 1000,
        content_deduplication=found.content_deduplication,
        deduplication_scope=_PER_WORDS[found.deduplication_scope or queues_pb2.PER_QUEUE],
        throughput_limit=_PER_WORDS[found.throughput_limit or queues_pb2.PER_QUEUE],
        redrive=RedrivePolicy(redrive.target, redrive.max_receive_count) if found.HasField("redrive") else None,
        redrive_allow=RedriveAllowPolicy(
            _PERMISSION_WORDS[allow.permission or queues_pb2.REDRIVE_PERMISSION_ALLOW_ALL], tuple(allow.sources)
        ),
        stripes=found.stripes or 1,
    )


def _counts(found: queues_pb2.QueueCounts) -> QueueCounts:
    return QueueCounts(
        visible=found.visible,
        in_flight=found.in_flight,
        delayed=found.delayed,
        oldest_age=found.oldest_age_ms / 1000 if found.HasField("oldest_age_ms") else None,
        sent_total=found.sent_total,
        received_total=found.received_total,
        deleted_total=found.deleted_total,
        expired_total=found.expired_total,
        moving=found.moving,
        moved_total=found.moved_total,
        arrived_total=found.arrived_total,
        duplicates_total=found.duplicates_total,
        message_groups=found.message_groups,
    )

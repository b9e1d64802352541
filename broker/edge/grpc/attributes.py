"""Attributes, counts and descriptions of queues between protobuf and the services: fields in, fields out."""

from __future__ import annotations

from broker.base.instants import Millis
from broker.domain.queues.model import ALLOW_ALL, QueueAttributes, RedriveAllowPolicy, RedrivePolicy
from broker.edge.grpc.enumerations import DEDUPLICATION_SCOPE, REDRIVE_PERMISSION, THROUGHPUT_LIMIT
from broker.pb.queues.v1 import queues_pb2
from broker.services.administering import AttributeChanges, Description


def attribute_changes(given: queues_pb2.QueueAttributes, no_redrive: bool = False) -> AttributeChanges:
    """Raises InvalidArgument."""

    def field(name: str) -> int | None:
        return getattr(given, name) if given.HasField(name) else None  # type: ignore[arg-type]

    def millis(name: str) -> Millis | None:
        value = field(name)
        return None if value is None else Millis(value)

    scope, limit = given.deduplication_scope, given.throughput_limit
    return AttributeChanges(
        visibility_timeout=millis("visibility_timeout_ms"),
        delay=millis("delay_ms"),
        retention=millis("retention_ms"),
        message_size_limit=field("message_size_limit"),
        receive_wait=millis("receive_wait_ms"),
        content_deduplication=given.content_deduplication if given.HasField("content_deduplication") else None,
        deduplication_scope=DEDUPLICATION_SCOPE.word(scope) if scope else None,
        throughput_limit=THROUGHPUT_LIMIT.word(limit) if limit else None,
        redrive=(
            RedrivePolicy(given.redrive.target, given.redrive.max_receive_count) if given.HasField("redrive") else None
        ),
        no_redrive=no_redrive,
        redrive_allow=_redrive_allow(given.redrive_allow) if given.HasField("redrive_allow") else None,
        stripes=field("stripes"),
    )


def queue_attributes(attributes: QueueAttributes) -> queues_pb2.QueueAttributes:
    redrive, allow = attributes.redrive, attributes.redrive_allow
    return queues_pb2.QueueAttributes(
        visibility_timeout_ms=attributes.visibility_timeout,
        delay_ms=attributes.delay,
        retention_ms=attributes.retention,
        message_size_limit=attributes.message_size_limit,
        receive_wait_ms=attributes.receive_wait,
        content_deduplication=attributes.content_deduplication,
        deduplication_scope=DEDUPLICATION_SCOPE.number(attributes.deduplication_scope),
        throughput_limit=THROUGHPUT_LIMIT.number(attributes.throughput_limit),
        redrive=(
            None
            if redrive is None
            else queues_pb2.RedrivePolicy(target=redrive.target, max_receive_count=redrive.max_receive_count)
        ),
        redrive_allow=queues_pb2.RedriveAllowPolicy(
            permission=REDRIVE_PERMISSION.number(allow.permission), sources=allow.sources
        ),
        stripes=attributes.stripes,
    )


def description(found: Description) -> queues_pb2.QueueDescription:
    queue = found.queue
    return queues_pb2.QueueDescription(
        name=queue.name,
        attributes=queue_attributes(queue.attributes),
        counts=_counts(found),
        created_at=queue.created_at,
        modified_at=queue.modified_at,
        group=found.group,
        leader=found.leader,
        groups=queue.groups or (found.group,),
        redrive_target="" if queue.target is None else queue.target.name,
        redrive_suspended_until=queue.redrive_suspended_until,
    )


def _counts(found: Description) -> queues_pb2.QueueCounts:
    counts = found.counts
    oldest = counts.oldest_sent_at
    return queues_pb2.QueueCounts(
        visible=counts.visible,
        in_flight=counts.in_flight,
        delayed=counts.delayed,
        oldest_age_ms=None if oldest is None else max(0, found.at - oldest),
        sent_total=counts.sent_total,
        received_total=counts.received_total,
        deleted_total=counts.deleted_total,
        expired_total=counts.expired_total,
        moving=counts.moving,
        moved_total=counts.moved_total,
        arrived_total=counts.arrived_total,
        duplicates_total=counts.duplicates_total,
        message_groups=counts.message_groups,
    )


def _redrive_allow(given: queues_pb2.RedriveAllowPolicy) -> RedriveAllowPolicy:
    permission = REDRIVE_PERMISSION.word(given.permission) if given.permission else ALLOW_ALL
    return RedriveAllowPolicy(permission, tuple(given.sources))

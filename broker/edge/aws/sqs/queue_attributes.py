"""Attributes of queues between SQS's texts and the domain: names, ranges, defaults, and those that are only told.

Amazon SQS API Reference: CreateQueue, SetQueueAttributes, GetQueueAttributes. SQS counts seconds. What the broker does
not act upon (the settings of encryption) it keeps with the queue and tells again as it was given. So it does with a
policy, which is enforced elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from broker.base import limits
from broker.base.instants import SECOND
from broker.domain.queues.model import (
    ALLOW_ALL,
    PER_MESSAGE_GROUP,
    PER_QUEUE,
    QueueAttributes,
    RedriveAllowPolicy,
)
from broker.edge.aws.contract import AwsError
from broker.edge.aws.sqs import policy_documents, redrive
from broker.edge.aws.sqs.errors import invalid_attribute, unknown_attribute
from broker.edge.aws.sqs.message_attributes import has_forbidden
from broker.edge.aws.sqs.names import Names, QueueName
from broker.services.administering import AttributeChanges, Description

ALL = "All"
FIFO_QUEUE = "FifoQueue"
POLICY = policy_documents.ATTRIBUTE
KMS_KEY, KMS_REUSE, MANAGED = "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"
DEFAULT_SIZE_LIMIT = limits.MAX_MESSAGE_SIZE
_DEFAULT_REUSE = "300"
_TRUE, _FALSE = "true", "false"

_SECONDS = {
    "VisibilityTimeout": ("visibility_timeout", 0, limits.MAX_VISIBILITY_TIMEOUT // SECOND),
    "DelaySeconds": ("delay", 0, limits.MAX_DELAY // SECOND),
    "MessageRetentionPeriod": ("retention", limits.MIN_RETENTION // SECOND, limits.MAX_RETENTION // SECOND),
    "ReceiveMessageWaitTimeSeconds": ("receive_wait", 0, limits.MAX_RECEIVE_WAIT // SECOND),
}
_SCOPES = {"queue": PER_QUEUE, "messageGroup": PER_MESSAGE_GROUP}
_LIMITS = {"perQueue": PER_QUEUE, "perMessageGroupId": PER_MESSAGE_GROUP}
_CHOICES = {
    "DeduplicationScope": ("deduplication_scope", _SCOPES),
    "FifoThroughputLimit": ("throughput_limit", _LIMITS),
}
_CONTENT = "ContentBasedDeduplication"
_OF_FIFO = frozenset({FIFO_QUEUE, _CONTENT, *_CHOICES})
_SIZE = "MaximumMessageSize"
_COUNTS = {
    "ApproximateNumberOfMessages": "visible",
    "ApproximateNumberOfMessagesNotVisible": "in_flight",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}
_CREATED, _MODIFIED, _ARN = "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn"
_DEFAULTS = QueueAttributes()


class _Reading(msgspec.Struct):
    """What a request's attributes change, so far."""

    queue: QueueName
    names: Names
    changes: dict[str, Any] = {}
    kept: dict[str, str | None] = {}

    def seconds(self, name: str, text: str) -> None:
        field, least, most = _SECONDS[name]
        given = _number(name, text, least, most)
        self.changes[field] = getattr(_DEFAULTS, field) if given is None else given * SECOND

    def size(self, name: str, text: str) -> None:
        given = _number(name, text, limits.MIN_MESSAGE_SIZE_LIMIT, limits.MAX_MESSAGE_SIZE)
        self.changes["message_size_limit"] = DEFAULT_SIZE_LIMIT if given is None else given

    def kind(self, name: str, text: str) -> None:
        if text != _TRUE:
            raise invalid_attribute(name, "Modifying queue type is not supported.")

    def content(self, name: str, text: str) -> None:
        self.changes["content_deduplication"] = _boolean(name, text)

    def choice(self, name: str, text: str) -> None:
        field, words = _CHOICES[name]
        if text and text not in words:
            raise invalid_attribute(name)
        self.changes[field] = words.get(text, PER_QUEUE)

    def redrive(self, _: str, text: str) -> None:
        if text:
            self.changes["redrive"] = redrive.read_policy(text, self.queue, self.names)
        else:
            self.changes["no_redrive"] = True

    def redrive_allow(self, name: str, text: str) -> None:
        policy = redrive.read_allow_policy(text, self.names) if text else RedriveAllowPolicy()
        self.changes["redrive_allow"] = policy
        self.kept[name] = _TRUE if text else None  # told again, though it may say what is so anyway

    def policy(self, name: str, text: str) -> None:
        if text:
            policy_documents.read(text)
        self.kept[name] = text or None

    def key(self, name: str, text: str) -> None:
        self.kept[name] = text or None

    def reuse(self, name: str, text: str) -> None:
        self.kept[name] = None if _number(name, text, 60, 86_400) is None else text

    def managed(self, name: str, text: str) -> None:
        self.kept[name] = _TRUE if _boolean(name, text) else _FALSE


_READERS: dict[str, Callable[[_Reading, str, str], None]] = {
    **dict.fromkeys(_SECONDS, _Reading.seconds),
    **dict.fromkeys(_CHOICES, _Reading.choice),
    _SIZE: _Reading.size,
    FIFO_QUEUE: _Reading.kind,
    _CONTENT: _Reading.content,
    redrive.POLICY: _Reading.redrive,
    redrive.ALLOW_POLICY: _Reading.redrive_allow,
    POLICY: _Reading.policy,
    KMS_KEY: _Reading.key,
    KMS_REUSE: _Reading.reuse,
    MANAGED: _Reading.managed,
}
KNOWN = frozenset(_READERS) | {*_COUNTS, _CREATED, _MODIFIED, _ARN}


def read(given: Mapping[str, str], queue: QueueName, names: Names) -> AttributeChanges:
    """An empty text: the default. Raises AwsError."""
    reading = _Reading(queue, names)
    for name, text in given.items():
        if name not in _READERS or (name in _OF_FIFO and not queue.fifo):
            raise unknown_attribute(name)
        if has_forbidden(text):
            raise invalid_attribute(name)
        _READERS[name](reading, name, text)
    _settle_encryption(reading.kept)
    return AttributeChanges(**reading.changes, kept=tuple(reading.kept.items()) or None)


def write(attributes: QueueAttributes, queue: QueueName, names: Names) -> dict[str, str]:
    """Those that may be set."""
    told = {name: str(getattr(attributes, field) // SECOND) for name, (field, _, _) in _SECONDS.items()}
    told[_SIZE] = str(attributes.message_size_limit)
    kept = dict(attributes.kept)
    allow_told = kept.pop(redrive.ALLOW_POLICY, None)
    told[MANAGED] = kept.pop(MANAGED, _FALSE)
    told |= kept
    if KMS_KEY in kept:
        told.setdefault(KMS_REUSE, _DEFAULT_REUSE)
    if attributes.redrive is not None:
        told[redrive.POLICY] = redrive.write_policy(attributes.redrive, names)
    if allow_told or attributes.redrive_allow.permission != ALLOW_ALL:
        told[redrive.ALLOW_POLICY] = redrive.write_allow_policy(attributes.redrive_allow, names)
    if queue.fifo:
        told[FIFO_QUEUE] = _TRUE
        told[_CONTENT] = _TRUE if attributes.content_deduplication else _FALSE
        for name, (field, words) in _CHOICES.items():
            told[name] = next(text for text, word in words.items() if word == getattr(attributes, field))
    return told


def describe(found: Description, queue: QueueName, names: Names) -> dict[str, str]:
    """All of them."""
    described, counts = found.queue, found.counts
    return write(described.attributes, queue, names) | {
        **{name: str(getattr(counts, field)) for name, field in _COUNTS.items()},
        _CREATED: str(described.created_at // SECOND),
        _MODIFIED: str(described.modified_at // SECOND),
        _ARN: queue.arn,
    }


def first_difference(given: Mapping[str, str], there: QueueAttributes, queue: QueueName, names: Names) -> str:
    """The first attribute of ``given`` that a queue with the attributes ``there`` has another value of, or ""."""
    changes = read(given, queue, names)
    now, wanted = write(there, queue, names), write(changes.applied_to(there), queue, names)
    return next((name for name in given if now.get(name) != wanted.get(name)), "")


def _settle_encryption(kept: dict[str, str | None]) -> None:
    """One of two kinds at most. Raises AwsError."""
    if kept.get(KMS_KEY) and kept.get(MANAGED) == _TRUE:
        raise AwsError(
            "InvalidAttributeName",
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS "
            "SSE.",
        )
    if kept.get(KMS_KEY):
        kept[MANAGED] = _FALSE
    if kept.get(MANAGED) == _TRUE:
        kept |= {KMS_KEY: None, KMS_REUSE: None}


def _number(name: str, text: str, least: int, most: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise invalid_attribute(name)
    return int(text)


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in (_TRUE, _FALSE, ""):
        raise invalid_attribute(name)
    return text.lower() == _TRUE

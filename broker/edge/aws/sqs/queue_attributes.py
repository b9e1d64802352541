"""Attributes of queues between SQS's texts and the domain: names, ranges, defaults, and those that are only told.

Amazon SQS API Reference: CreateQueue, SetQueueAttributes, GetQueueAttributes. SQS counts seconds. What the broker does
not act upon (a policy, the settings of encryption) it keeps with the queue and tells again as it was given.
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
from broker.edge.aws.sqs import redrive
from broker.edge.aws.sqs.errors import invalid_attribute, unknown_attribute
from broker.edge.aws.sqs.message_attributes import has_forbidden
from broker.edge.aws.sqs.names import Names, QueueName
from broker.services.administering import AttributeChanges, Description

ALL = "All"
FIFO_QUEUE = "FifoQueue"
POLICY, KMS_KEY, KMS_REUSE, MANAGED = (
    "Policy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
)
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
SETTABLE = frozenset(
    {*_SECONDS, _SIZE, *_OF_FIFO, redrive.POLICY, redrive.ALLOW_POLICY, POLICY, KMS_KEY, KMS_REUSE, MANAGED}
)
KNOWN = SETTABLE | {*_COUNTS, _CREATED, _MODIFIED, _ARN}
_DEFAULTS = QueueAttributes()


def read(given: Mapping[str, str], queue: QueueName, names: Names) -> AttributeChanges:
    """An empty text: the default. Raises AwsError."""
    changes: dict[str, Any] = {}
    kept: dict[str, str | None] = {}
    for name, text in given.items():
        if name not in SETTABLE or (name in _OF_FIFO and not queue.fifo):
            raise unknown_attribute(name)
        if has_forbidden(text):
            raise invalid_attribute(name)
        if name in _SECONDS:
            field, least, most = _SECONDS[name]
            seconds = _number(name, text, least, most)
            changes[field] = getattr(_DEFAULTS, field) if seconds is None else seconds * SECOND
        elif name == _SIZE:
            size = _number(name, text, limits.MIN_MESSAGE_SIZE_LIMIT, limits.MAX_MESSAGE_SIZE)
            changes["message_size_limit"] = DEFAULT_SIZE_LIMIT if size is None else size
        elif name == FIFO_QUEUE:
            if text != _TRUE:
                raise invalid_attribute(name, "Modifying queue type is not supported.")
        elif name == _CONTENT:
            changes["content_deduplication"] = _boolean(name, text)
        elif name in _CHOICES:
            field, words = _CHOICES[name]
            if text and text not in words:
                raise invalid_attribute(name)
            changes[field] = words.get(text, PER_QUEUE)
        elif name == redrive.POLICY:
            changes |= {"redrive": redrive.read_policy(text, queue, names)} if text else {"no_redrive": True}
        elif name == redrive.ALLOW_POLICY:
            changes["redrive_allow"] = redrive.read_allow_policy(text, names) if text else RedriveAllowPolicy()
            kept[name] = _TRUE if text else None  # told again, though it says what is so anyway
        else:
            kept[name] = _KEPT[name](name, text)
    _settle_encryption(kept)
    return AttributeChanges(**changes, kept=tuple(kept.items()) or None)


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


def _policy(name: str, text: str) -> str | None:
    if not text:
        return None
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise invalid_attribute(name) from None
    return text


def _any(_: str, text: str) -> str | None:
    return text or None


def _reuse(name: str, text: str) -> str | None:
    return None if _number(name, text, 60, 86_400) is None else text


def _managed(name: str, text: str) -> str | None:
    return _TRUE if _boolean(name, text) else _FALSE


_KEPT: dict[str, Callable[[str, str], str | None]] = {
    POLICY: _policy,
    KMS_KEY: _any,
    KMS_REUSE: _reuse,
    MANAGED: _managed,
}

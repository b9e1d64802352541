"""What a request may ask of queues: names, ranges, typed attributes. Judged before anything is located or proposed.

Rules of the Amazon SQS API reference: CreateQueue, SendMessage, ReceiveMessage, ChangeMessageVisibility.
"""

from __future__ import annotations

import re

from broker.base.errors import InvalidArgument, InvalidName
from broker.base.limits import (
    ATTRIBUTE_NAME_MAX_LENGTH,
    ATTRIBUTE_TYPE_MAX_LENGTH,
    MAX_ATTRIBUTES_PER_MESSAGE,
    MAX_DELAY,
    MAX_MESSAGE_SIZE,
    MAX_RECEIVE_WAIT,
    MAX_RETENTION,
    MAX_VISIBILITY_TIMEOUT,
    MIN_MESSAGE_SIZE_LIMIT,
    MIN_RETENTION,
    QUEUE_NAME_MAX_LENGTH,
)
from broker.domain.queues.commands import Attribute, QueueAttributes

_QUEUE_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{QUEUE_NAME_MAX_LENGTH}}}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ATTRIBUTE_TYPES = ("String", "Number", "Binary")


def check_queue_name(name: str) -> None:
    """Raises InvalidName."""
    if not _QUEUE_NAME.fullmatch(name):
        raise InvalidName(
            f"queue name {name[:100]!r} has {len(name)} characters; it must be 1 to {QUEUE_NAME_MAX_LENGTH} of "
            "A-Z a-z 0-9 - _"
        )


def check_queue_attributes(attributes: QueueAttributes) -> None:
    check_visibility_timeout(attributes.visibility_timeout)
    _check_range("delay", attributes.delay, 0, MAX_DELAY, "ms")
    _check_range("retention", attributes.retention, MIN_RETENTION, MAX_RETENTION, "ms")
    _check_range("message size limit", attributes.message_size_limit, MIN_MESSAGE_SIZE_LIMIT, MAX_MESSAGE_SIZE, "bytes")
    check_receive_wait(attributes.receive_wait)


def check_visibility_timeout(timeout: int) -> None:
    _check_range("visibility timeout", timeout, 0, MAX_VISIBILITY_TIMEOUT, "ms")


def check_receive_wait(wait: int) -> None:
    _check_range("receive wait", wait, 0, MAX_RECEIVE_WAIT, "ms")


def check_delay(delay: int) -> None:
    _check_range("delay", delay, 0, MAX_DELAY, "ms")


def check_message_attributes(attributes: tuple[Attribute, ...]) -> None:
    if len(attributes) > MAX_ATTRIBUTES_PER_MESSAGE:
        raise InvalidArgument(f"a message has at most {MAX_ATTRIBUTES_PER_MESSAGE} attributes, not {len(attributes)}")
    names = {attribute.name for attribute in attributes}
    if len(names) < len(attributes):
        raise InvalidArgument("a message names each attribute once; one of its names appears twice")
    for attribute in attributes:
        _check_attribute(attribute)


def _check_attribute(attribute: Attribute) -> None:
    name, kind = attribute.name, attribute.type
    if len(name) > ATTRIBUTE_NAME_MAX_LENGTH or not _ATTRIBUTE_NAME.fullmatch(name):
        raise InvalidArgument(f"bad name {name[:50]!r}")
    if len(kind) > ATTRIBUTE_TYPE_MAX_LENGTH or kind.split(".", 1)[0] not in _ATTRIBUTE_TYPES:
        raise InvalidArgument(f"bad type {kind[:50]!r}")


def _check_range(what: str, value: int, low: int, high: int, unit: str) -> None:
    if not low <= value <= high:
        raise InvalidArgument(f"a {what} is {low:,} to {high:,} {unit}, not {value:,}")

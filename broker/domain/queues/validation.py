"""The rules for queues and for requests about them, checked before anything is proposed. Pure functions that raise.

Amazon SQS API Reference: CreateQueue, SetQueueAttributes, ReceiveMessage. Where SQS counts seconds these count
milliseconds. The rules for messages are in ``message_validation``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from broker.base import limits
from broker.base.errors import (
    BatchEmpty,
    BatchTooLarge,
    InvalidArgument,
    InvalidName,
    NotForStandard,
    RedriveNotAllowed,
    RedriveTargetInvalid,
)
from broker.base.instants import WallMillis
from broker.domain.queues.model import (
    ALLOW_ALL,
    BY_QUEUE,
    DENY_ALL,
    FIFO_SUFFIX,
    NAMESPACE,
    PER_MESSAGE_GROUP,
    PER_QUEUE,
    STATES,
    QueueAttributes,
    RedriveAllowPolicy,
    RedrivePolicy,
    is_fifo,
)

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAMESPACED = re.compile(rf"{NAMESPACE}[0-9]{{12}}{NAMESPACE}[a-z0-9-]{{1,32}}{NAMESPACE}(?=.)", re.ASCII)
_SHOWN = 100


def check_queue_name(name: str) -> None:
    """1-80 characters of A-Z a-z 0-9 - _; a FIFO queue's end in ``.fifo``, which counts. That of a queue in a namespace
    has ``~ACCOUNT~REGION~`` before it, which does not. Raises InvalidName."""
    if name.startswith(NAMESPACE):
        name = _NAMESPACED.sub("", name, count=1)
    if not 1 <= len(name) <= limits.QUEUE_NAME_MAX_LENGTH:
        raise InvalidName(
            f"a queue name has 1 to {limits.QUEUE_NAME_MAX_LENGTH} characters, {name[:_SHOWN]!r} has {len(name)}"
        )
    if not _QUEUE_NAME.fullmatch(name.removesuffix(FIFO_SUFFIX)):
        raise InvalidName(
            f"queue name {name!r} has other characters than A-Z a-z 0-9 - _: leave them out "
            f"(a FIFO queue's name ends in {FIFO_SUFFIX}, after at least one of them)"
        )


def check_queue_attributes(attributes: QueueAttributes) -> None:
    """Each by itself. Raises InvalidArgument, InvalidName for a queue that a policy names."""
    check_within("visibility timeout", attributes.visibility_timeout, 0, limits.MAX_VISIBILITY_TIMEOUT, "ms")
    check_within("delay", attributes.delay, 0, limits.MAX_DELAY, "ms")
    check_within("retention", attributes.retention, limits.MIN_RETENTION, limits.MAX_RETENTION, "ms")
    smallest, largest = limits.MIN_MESSAGE_SIZE_LIMIT, limits.MAX_MESSAGE_SIZE
    check_within("message size limit", attributes.message_size_limit, smallest, largest, "bytes")
    check_within("receive wait", attributes.receive_wait, 0, limits.MAX_RECEIVE_WAIT, "ms")
    _check_one_of("deduplication scope", attributes.deduplication_scope, (PER_QUEUE, PER_MESSAGE_GROUP))
    _check_one_of("throughput limit", attributes.throughput_limit, (PER_QUEUE, PER_MESSAGE_GROUP))
    if attributes.redrive is not None:
        _check_redrive(attributes.redrive)
    _check_redrive_allow(attributes.redrive_allow)
    check_within("number of stripes", attributes.stripes, 1, limits.MAX_STRIPES, "")
    if attributes.tags:
        _check_tags(attributes.tags)
    if attributes.kept:
        size = _size(attributes.kept)
        check_within("size of what is kept with the queue", size, 0, limits.MAX_KEPT_SIZE, "bytes")


def check_attributes_fit(name: str, attributes: QueueAttributes) -> None:
    """Together, and to the kind of queue that ``name`` tells; each by itself is checked. Raises NotForStandard,
    RedriveTargetInvalid, InvalidArgument."""
    redrive = attributes.redrive
    if redrive is not None:
        check_redrive_target(name, redrive.target)
    if not is_fifo(name):
        _check_of_standard(name, attributes)
        return
    if attributes.throughput_limit == PER_MESSAGE_GROUP and attributes.deduplication_scope != PER_MESSAGE_GROUP:
        raise InvalidArgument(
            f"throughput limit {PER_MESSAGE_GROUP!r} needs deduplication scope {PER_MESSAGE_GROUP!r}, not "
            f"{attributes.deduplication_scope!r}: change both, or neither"
        )
    if attributes.stripes > 1 and attributes.deduplication_scope != PER_MESSAGE_GROUP:
        raise InvalidArgument(
            f"a FIFO queue with deduplication scope {attributes.deduplication_scope!r} has 1 stripe, not "
            f"{attributes.stripes}: set the deduplication scope to {PER_MESSAGE_GROUP!r} to spread it"
        )


def check_redrive_target(source: str, target: str) -> None:
    """By the names alone. Raises RedriveTargetInvalid."""
    if target == source:
        raise RedriveTargetInvalid(f"queue {source!r} cannot be its own dead-letter queue: name another one")
    if is_fifo(target) != is_fifo(source):
        kind = "a FIFO" if is_fifo(source) else "a standard"
        raise RedriveTargetInvalid(
            f"the dead-letter queue of {kind} queue is {kind} queue, {target!r} of {source!r} is not: name another one"
        )


def check_redrive_allowed(source: str, target: str, policy: RedriveAllowPolicy) -> None:
    """``policy`` is that of ``target``. Raises RedriveNotAllowed."""
    if policy.permission == ALLOW_ALL or (policy.permission == BY_QUEUE and source in policy.sources):
        return
    admitted = ", ".join(policy.sources) if policy.permission == BY_QUEUE else "none"
    raise RedriveNotAllowed(
        f"queue {target!r} does not take dead letters of {source!r}: its redrive allow policy is "
        f"{policy.permission} and admits {admitted}; change it there first"
    )


def check_delay(delay: int) -> None:
    """Raises InvalidArgument."""
    check_within("delay", delay, 0, limits.MAX_DELAY, "ms")


def check_visibility_timeout(timeout: int) -> None:
    """Raises InvalidArgument."""
    check_within("visibility timeout", timeout, 0, limits.MAX_VISIBILITY_TIMEOUT, "ms")


def check_receive_wait(wait: int) -> None:
    """Raises InvalidArgument."""
    check_within("wait", wait, 0, limits.MAX_RECEIVE_WAIT, "ms")


def check_max_messages(maximum: int) -> None:
    """Raises InvalidArgument."""
    check_within("number of messages to receive", maximum, 1, limits.MAX_RECEIVE_MESSAGES, "")


def check_batch(entries: int, size: int = 0) -> None:
    """``size`` in bytes, of all entries. Raises BatchEmpty, BatchTooLarge."""
    if entries < 1:
        raise BatchEmpty("the batch has no entries: send at least one")
    if entries > limits.MAX_BATCH_ENTRIES:
        raise BatchTooLarge(f"the batch has {entries} entries, the limit is {limits.MAX_BATCH_ENTRIES}: split it")
    if size > limits.MAX_BATCH_BYTES:
        raise BatchTooLarge(f"the batch has {size} bytes, the limit is {limits.MAX_BATCH_BYTES}: split it")


def check_browse(states: Collection[str], limit: int, since: WallMillis, until: WallMillis | None) -> None:
    """Raises InvalidArgument."""
    for state in states:
        _check_one_of("state", state, STATES)
    check_within("number of messages to browse", limit, 1, limits.MAX_BROWSE_PAGE, "")
    if until is not None and until < since:
        raise InvalidArgument(f"messages sent from {since} and before {until} cannot be: swap the instants")


def check_within(what: str, value: int, least: int, most: int, unit: str) -> None:
    """Raises InvalidArgument."""
    if not least <= value <= most:
        raise InvalidArgument(f"{what} {value} is out of range: use {least} to {most} {unit}".rstrip())


def _check_one_of(what: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InvalidArgument(f"{what} {value[:_SHOWN]!r} is not known: use {' or '.join(allowed)}")


def _check_tags(tags: Collection[tuple[str, str]]) -> None:
    check_within("number of tags", len(tags), 0, limits.MAX_TAGS, "")
    for key, value in tags:
        check_within(f"length of tag key {key[:_SHOWN]!r}", len(key), 1, limits.TAG_KEY_MAX_LENGTH, "characters")
        check_within(f"length of the value of tag {key!r}", len(value), 0, limits.TAG_VALUE_MAX_LENGTH, "characters")
    check_within("size of all tags", _size(tags), 0, limits.MAX_TAGS_SIZE, "bytes")


def _size(pairs: Collection[tuple[str, str]]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in pairs)


def _check_redrive(policy: RedrivePolicy) -> None:
    check_queue_name(policy.target)
    check_within("maximum receive count", policy.max_receive_count, 1, limits.MAX_RECEIVE_COUNT, "")


def _check_redrive_allow(policy: RedriveAllowPolicy) -> None:
    _check_one_of("redrive permission", policy.permission, (ALLOW_ALL, DENY_ALL, BY_QUEUE))
    if policy.permission == BY_QUEUE:
        check_within("number of source queues", len(policy.sources), 1, limits.MAX_REDRIVE_SOURCES, "")
        for source in policy.sources:
            check_queue_name(source)
    elif policy.sources:
        raise InvalidArgument(
            f"redrive permission {policy.permission!r} came with {len(policy.sources)} source queues: "
            f"use {BY_QUEUE!r} with them, or leave them out"
        )


def _check_of_standard(name: str, attributes: QueueAttributes) -> None:
    of_fifo = {
        "content-based deduplication": attributes.content_deduplication,
        "deduplication scope": attributes.deduplication_scope != PER_QUEUE,
        "throughput limit": attributes.throughput_limit != PER_QUEUE,
    }
    for what, given in of_fifo.items():
        if given:
            raise NotForStandard(
                f"{name!r} is a standard queue, {what} is of FIFO queues only: leave it out, or create a queue whose "
                f"name ends in {FIFO_SUFFIX}"
            )

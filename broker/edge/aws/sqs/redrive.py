"""Redrive policies and redrive allow policies: JSON texts that name queues by ARN, in and out.

Amazon SQS API Reference: SetQueueAttributes. A dead-letter queue is of the same account and region as its sources.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.limits import MAX_RECEIVE_COUNT, MAX_REDRIVE_SOURCES
from broker.domain.queues.model import ALLOW_ALL, BY_QUEUE, DENY_ALL, RedriveAllowPolicy, RedrivePolicy
from broker.edge.aws.contract import AwsError
from broker.edge.aws.sqs.errors import invalid_value
from broker.edge.aws.sqs.names import Names, QueueName

POLICY, ALLOW_POLICY = "RedrivePolicy", "RedriveAllowPolicy"
_TARGET, _COUNT = "deadLetterTargetArn", "maxReceiveCount"
_PERMISSION, _SOURCES = "redrivePermission", "sourceQueueArns"
_WORDS = {"allowAll": ALLOW_ALL, "denyAll": DENY_ALL, "byQueue": BY_QUEUE}
_NAMES = {word: name for name, word in _WORDS.items()}


def read_policy(text: str, source: QueueName, names: Names) -> RedrivePolicy:
    """Raises AwsError."""
    found = _map(text, POLICY, "Redrive policy is not a valid JSON map.")
    for mandatory in (_TARGET, _COUNT):
        if found.get(mandatory) in (None, ""):
            raise _refused(text, POLICY, f"Redrive policy does not contain mandatory attribute: {mandatory}.")
    for name in found:
        if name not in (_TARGET, _COUNT):
            raise _refused(text, POLICY, f"Redrive policy contains unknown attribute: {name}.")
    target = names.of_arn(str(found[_TARGET]))
    if target is None:
        raise _refused(text, POLICY, f"Invalid value for {_TARGET}.")
    count = _count(found[_COUNT])
    if count is None or not 1 <= count <= MAX_RECEIVE_COUNT:
        valid = f"valid values are from 1 to {MAX_RECEIVE_COUNT} both inclusive."
        reason = f"Invalid value for {_COUNT}: {found[_COUNT]}, {valid}"
        raise _refused(text, POLICY, reason)
    if not target.is_with(source):
        raise _refused(text, POLICY, "Dead-letter target owner should be same as the source.")
    if target.fifo != source.fifo:
        raise _refused(text, POLICY, "Dead-letter queue must be same type of queue as the source.")
    return RedrivePolicy(target.stored, count)


def write_policy(policy: RedrivePolicy, names: Names) -> str:
    return _text({_TARGET: names.of_stored(policy.target).arn, _COUNT: policy.max_receive_count})


def read_allow_policy(text: str, names: Names) -> RedriveAllowPolicy:
    """Raises AwsError."""
    found = _map(text, ALLOW_POLICY, "Redrive allow policy is not a valid JSON map.")
    word = found.get(_PERMISSION)
    if word is None:
        raise _refused(text, ALLOW_POLICY, f"Redrive allow policy does not contain mandatory attribute: {_PERMISSION}.")
    for name in found:
        if name not in (_PERMISSION, _SOURCES):
            raise _refused(text, ALLOW_POLICY, f"Redrive allow policy contains unknown attribute: {name}.")
    if word not in _WORDS:
        raise _refused(text, ALLOW_POLICY, f"Invalid value for {_PERMISSION}: {word}, use {', '.join(_WORDS)}.")
    given = found.get(_SOURCES)
    if word != "byQueue":
        if given is not None:
            raise _refused(text, ALLOW_POLICY, f"{_SOURCES} can be specified only when {_PERMISSION} is byQueue.")
        return RedriveAllowPolicy(_WORDS[word])
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_REDRIVE_SOURCES:
        raise _refused(text, ALLOW_POLICY, f"{_SOURCES} must have 1 to {MAX_REDRIVE_SOURCES} ARNs.")
    sources = [names.of_arn(str(arn)) for arn in given]
    if None in sources:
        raise _refused(text, ALLOW_POLICY, f"Invalid value for {_SOURCES}.")
    return RedriveAllowPolicy(BY_QUEUE, tuple(source.stored for source in sources if source is not None))


def write_allow_policy(policy: RedriveAllowPolicy, names: Names) -> str:
    told: dict[str, Any] = {_PERMISSION: _NAMES[policy.permission]}
    if policy.sources:
        told[_SOURCES] = [names.of_stored(source).arn for source in policy.sources]
    return _text(told)


def target_missing(text: str) -> AwsError:
    return _refused(text, POLICY, "Dead letter target does not exist.")


def target_denied(text: str, policy: RedrivePolicy, names: Names) -> AwsError:
    arn = names.of_stored(policy.target).arn
    return _refused(text, POLICY, f"Redrive permission to the Dead letter queue {arn} is denied.")


def _refused(text: str, name: str, reason: str) -> AwsError:
    return invalid_value(text, name, reason)


def _map(text: str, name: str, otherwise: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise _refused(text, name, otherwise) from None


def _count(given: object) -> int | None:
    """Numbers may be written as texts."""
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) <= len(str(MAX_RECEIVE_COUNT)):
        return int(given)
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _text(told: dict[str, Any]) -> str:
    return msgspec.json.encode(told).decode()

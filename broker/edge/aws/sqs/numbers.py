"""Numbers in requests: within their bounds, or refused in SQS's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.base.instants import SECOND, Millis
from broker.edge.aws.sqs.errors import invalid_value

MAX_VISIBILITY_TIMEOUT = 43_200
"""Seconds, as all here."""
MAX_DELAY = 900
MAX_WAIT = 20
MAX_MESSAGES = 10


def visibility_timeout(given: Mapping[str, Any]) -> Millis | None:
    reason = f"VisibilityTimeout must be an integer between 0 and {MAX_VISIBILITY_TIMEOUT}."
    return _seconds(given, "VisibilityTimeout", MAX_VISIBILITY_TIMEOUT, reason)


def delay(given: Mapping[str, Any]) -> Millis | None:
    return _seconds(given, "DelaySeconds", MAX_DELAY, f"DelaySeconds must be >= 0 and <= {MAX_DELAY}.")


def wait(given: Mapping[str, Any]) -> Millis | None:
    return _seconds(given, "WaitTimeSeconds", MAX_WAIT, f"Must be >= 0 and <= {MAX_WAIT}, if provided.")


def number(given: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """At least 1. Raises AwsError."""
    value: int | None = given.get(name)
    if value is None:
        return default
    if not 1 <= value <= most:
        raise invalid_value(value, name, f"Must be between 1 and {most}, if provided.")
    return value


def _seconds(given: Mapping[str, Any], name: str, most: int, reason: str) -> Millis | None:
    value: int | None = given.get(name)
    if value is None:
        return None
    if not 0 <= value <= most:
        raise invalid_value(value, name, reason)
    return Millis(value * SECOND)

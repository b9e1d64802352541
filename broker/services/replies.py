"""What a machine replied, or the error it refused with: a room may refuse, and so may what all rooms share."""

from __future__ import annotations

from typing import Any, TypeVar

from broker.base.errors import InvalidArgument, Refusal
from broker.domain.directory import commands as directory
from broker.domain.identity import commands as identity
from broker.domain.queues import commands as queues

Reply = TypeVar("Reply")

Failures = tuple[tuple[int, Refusal], ...]
"""Positions in a batch that failed, ascending, and why; all others are done."""


def accepted_as(kind: type[Reply], reply: Any) -> Reply:
    """The reply to a command under a request id. Raises the BrokerError that a refusal stands for, and
    InvalidArgument when what is remembered under the id answered another kind of request."""
    found = accepted(reply)
    if not isinstance(found, kind):
        raise InvalidArgument("the request id was used before, for another kind of request: use a new one")
    return found


def accepted(reply: Any) -> Any:
    """Raises the BrokerError that a refusal stands for."""
    if isinstance(reply, queues.Refused | directory.Refused | identity.Refused):
        raise reply.refusal.to_error()
    if isinstance(reply, Refusal):
        raise reply.to_error()
    return reply

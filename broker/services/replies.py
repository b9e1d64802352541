"""What a machine replied, or the error it refused with: a room may refuse, and so may what all rooms share."""

from __future__ import annotations

from typing import Any

from broker.base.errors import Refusal
from broker.domain.directory import commands as directory
from broker.domain.queues import commands as queues


def accepted(reply: Any) -> Any:
    """Raises the BrokerError that a refusal stands for."""
    if isinstance(reply, queues.Refused | directory.Refused):
        raise reply.refusal.to_error()
    if isinstance(reply, Refusal):
        raise reply.to_error()
    return reply

"""Queues that messages are moved to, found by name: for a redrive policy, a move task, and anew when one has gone.

This room must not know what moves there, nor when.
"""

from __future__ import annotations

from broker.base.ids import QueueId
from broker.base.instants import Millis
from broker.domain.queues.model import Target
from broker.services.directory import Directory
from broker.services.lifecycle import KIND


class Targets:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def find(self, name: str, deadline: Millis) -> Target | None:
        """As the directory says now; None when there is no such queue."""
        found = await self._directory.find(KIND, name, deadline)
        return None if found is None else Target(name, QueueId(found.id), found.groups)

"""Withdrawing what was scheduled: it works until the instant has come, and never after."""

from __future__ import annotations

from broker.domain.queues import commands
from tests.simulation.checkers.model_queue import Key, ModelQueue
from tests.simulation.checkers.violation import Violation


class Cancellations:
    """So can a delayed one. That nothing is early, and nothing cancelled is delivered, shows at deliveries."""

    name = "a scheduled message can be cancelled until it is due"

    def cancelled(
        self, queue: ModelQueue, command: commands.Cancel, reply: commands.Results, index: int, now: int
    ) -> int:
        """How many were."""
        refused = {position for position, _ in reply.refused}
        gone: set[Key] = set()
        for position, key in enumerate(command.messages):
            held = queue.messages.get(key)
            waits = held is not None and not held.receipt and held.visible_at > now and key not in gone
            if position not in refused and not waits:
                raise Violation(
                    self.name,
                    f"entry {index} cancelled message {key} of {queue.name} at {now}, which does not wait for "
                    f"anything: {held or queue.fates.get(key)}",
                )
            if position in refused and waits and held is not None:
                raise Violation(
                    self.name,
                    f"entry {index} was refused to cancel message {key} of {queue.name} at {now}, which waits until "
                    f"{held.visible_at}",
                )
            if position not in refused:
                gone.add(key)
        return len(gone)

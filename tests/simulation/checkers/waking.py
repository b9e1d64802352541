"""Who waits for messages is told when some come: long polls ask nothing meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.machine.contract import Effect
from tests.simulation.checkers.model_queue import ModelQueue
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation


class NobodyWaitsInVain:
    """Whenever a receive would find more than before, the machine says so to those who wait for the queue."""

    name = "who waits for messages is woken"

    def __init__(self) -> None:
        self._before: dict[tuple[int, int], set[Any]] = {}

    def applied(self, model: QueueModel, effects: Iterable[Effect], index: int, now: int) -> None:
        """After the picture has followed entry ``index``."""
        woken = {effect.key for effect in effects}
        for queue in model.queues.values():
            there = _there(queue, now)
            new = there - self._before.get(queue.identity, set())
            self._before[queue.identity] = there
            if new and ("queue", queue.id) not in woken:
                raise Violation(
                    self.name,
                    f"since entry {index} of group {model.group}, at {now}, a receive from {queue.name} would find "
                    f"{new}; its effects are {woken or 'none'}",
                )


def _there(queue: ModelQueue, now: int) -> set[Any]:
    """Of a standard queue the messages that wait, of a FIFO queue the groups whose next one may be handed out."""
    if not queue.is_fifo:
        return {held.key for held in queue.messages.values() if held.visible_at <= now}
    heads = {}
    for held in queue.messages.values():
        if held.group not in heads or held.key < heads[held.group].key:
            heads[held.group] = held
    there = {group for group, held in heads.items() if held.visible_at <= now}
    return there - queue.blocked(now) if there else there

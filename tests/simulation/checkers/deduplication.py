"""What is sent twice within five minutes is in the queue once; what differs is in it, too."""

from __future__ import annotations

from broker.base.limits import DEDUPLICATION_INTERVAL
from broker.domain.queues import commands
from broker.domain.queues.model import PER_MESSAGE_GROUP
from tests.simulation.checkers.model_queue import Key, ModelQueue
from tests.simulation.checkers.violation import Violation

_SLOT_BITS = 16


class NoSecondEnqueue:
    """By deduplication id, within the queue or within the message group as the queue says, measured in machine time."""

    name = "nothing is enqueued twice within five minutes"

    def __init__(self) -> None:
        self._first: dict[tuple[tuple[int, int], str, str], tuple[int, Key]] = {}
        """By queue, scope and id: when the last effective send was, and of which message."""

    def sent(self, queue: ModelQueue, command: commands.Send, reply: commands.Sent, index: int, now: int) -> None:
        duplicates = dict(reply.duplicates)
        for slot in range(command.count):
            identity = command.deduplication[slot] if command.deduplication else ""
            if not identity:
                continue
            group = command.groups[slot] if command.groups else ""
            scope = group if queue.attributes.deduplication_scope == PER_MESSAGE_GROUP else ""
            first = self._first.get((queue.identity, scope, identity))
            known = first is not None and now - first[0] < DEDUPLICATION_INTERVAL
            story = f"entry {index} sent slot {slot} to group {group} of {queue.name} as {identity} at {now}"
            if known and first is not None and slot not in duplicates:
                raise Violation(self.name, f"{story}; message {first[1]}, sent so at {first[0]}, was in it already")
            if not known and slot in duplicates:
                raise Violation(
                    "nothing is dropped that was not a duplicate",
                    f"{story}; it was dropped for message {_key(duplicates[slot])}, the last one sent so was {first}",
                )
            if not known:
                self._first[queue.identity, scope, identity] = (now, (index, slot))
            elif first is not None and _key(duplicates[slot]) != first[1]:
                raise Violation(
                    "a duplicate's answer names the first message",
                    f"{story}; the answer names {_key(duplicates[slot])}, the first one was {first[1]}",
                )


def _key(number: int) -> Key:
    return number >> _SLOT_BITS, number & ((1 << _SLOT_BITS) - 1)

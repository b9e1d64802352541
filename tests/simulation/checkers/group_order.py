"""Messages of one message group of a FIFO queue come out in the order in which they went in."""

from __future__ import annotations

from broker.domain.queues import commands
from tests.simulation.checkers.model_queue import Key, ModelQueue
from tests.simulation.checkers.violation import Violation


class GroupOrder:
    """Over time: first deliveries have ascending sequence numbers. In every receive: nothing is handed out, for the
    first time or again, while something older of its group is still there."""

    name = "messages of a group come in order"

    def __init__(self) -> None:
        self._latest: dict[tuple[tuple[int, int], str], Key] = {}
        """By queue and message group: the last one that was delivered for the first time."""

    def received(self, queue: ModelQueue, reply: commands.Deliveries, index: int) -> None:
        waiting = {group: iter(messages) for group, messages in queue.by_group().items()}
        for delivery in reply.deliveries:
            key, group = (delivery.index, delivery.slot), delivery.group
            latest = self._latest.get((queue.identity, group), (0, 0))
            if not queue.messages[key].receipt:
                if key < latest:
                    raise Violation(
                        self.name,
                        f"entry {index} delivered message {key} of group {group} of {queue.name} for the first time, "
                        f"{latest} was delivered before",
                    )
                self._latest[queue.identity, group] = key
            expected = next(waiting[group]).key
            if key != expected:
                raise Violation(
                    self.name,
                    f"entry {index} delivered message {key} of group {group} of {queue.name} before {expected}",
                )


class OneOpenDelivery:
    """While something of a message group is in flight, or on its way to another queue, nothing more of it comes."""

    name = "one open delivery per message group"

    def received(self, queue: ModelQueue, reply: commands.Deliveries, index: int, now: int) -> int:
        """How many message groups with visible messages were blocked, rightly."""
        blocked = queue.blocked(now)
        for delivery in reply.deliveries:
            if delivery.group in blocked:
                open_ones = [held.key for held in queue.in_flight(now) if held.group == delivery.group]
                leaving = [each.number for each in queue.leaving.values() if each.held.group == delivery.group]
                raise Violation(
                    self.name,
                    f"entry {index} delivered message {(delivery.index, delivery.slot)} of group {delivery.group} of "
                    f"{queue.name} at {now}; {open_ones} of it were in flight, parcels {leaving} on their way",
                )
        return len(blocked & {held.group for held in queue.visible(now)})

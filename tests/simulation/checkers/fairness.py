"""No tenant of a standard queue delays the others.

The rule, exactly. A message group is noisy at a moment when it has at least 30 messages in flight and more than 10 % of
all that are in flight in its queue. The messages of one receive are handed out one after the other, and each counts as
in flight from then on. A group that is noisy at the moment when one of its messages is handed out gets it only if
nothing else visible is of a group that has been quiet since the receive began, or of none.
"""

from __future__ import annotations

from collections import Counter

from broker.domain.queues import commands
from tests.simulation.checkers.model_queue import ModelQueue
from tests.simulation.checkers.violation import Violation

_NOISY_FROM = 30
_NOISY_SHARE = 0.1


class QuietTenantsFirst:
    name = "no noisy message group passes a quiet one"

    def received(self, queue: ModelQueue, reply: commands.Deliveries, index: int, now: int) -> int:
        """How many noisy message groups were kept waiting."""
        held = Counter(each.group for each in queue.in_flight(now))
        at_last = held + Counter(each.group for each in reply.deliveries)
        if max((count for group, count in at_last.items() if group), default=0) < _NOISY_FROM:
            return 0
        waiting = Counter(each.group for each in queue.offered(now))
        ever_noisy: set[str] = set()
        waited: set[str] = set()
        for delivery in reply.deliveries:
            noisy = {group for group in waiting if _is_noisy(group, held)}
            ever_noisy |= noisy
            quiet = [group for group, count in waiting.items() if count and group not in ever_noisy]
            if delivery.group in noisy and quiet:
                raise Violation(
                    self.name,
                    f"entry {index} handed out {(delivery.index, delivery.slot)} of group {delivery.group} of "
                    f"{queue.name} at {now}, with {held[delivery.group]} of {held.total()} in flight; visible were "
                    f"messages of {quiet}, which are not noisy",
                )
            if delivery.group not in noisy:
                waited |= {group for group in noisy if waiting[group]}
            waiting[delivery.group] -= 1
            held[delivery.group] += 1
        return len(waited)


def _is_noisy(group: str, held: Counter[str]) -> bool:
    return bool(group) and held[group] >= _NOISY_FROM and held[group] > held.total() * _NOISY_SHARE

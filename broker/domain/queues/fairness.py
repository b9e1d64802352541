"""Whose message a receive of a standard queue takes next: the oldest, except that noisy tenants wait for the others.

A tenant is a message group. One with at least limits.NOISY_IN_FLIGHT messages in flight and more than
limits.NOISY_PERCENT of all that are is noisy: it is handed out only when no quiet one has a message. Messages without a
group are nobody's, and never noisy. Amazon SQS Developer Guide, "Amazon SQS fair queues".
"""

from __future__ import annotations

from broker.base.limits import NOISY_IN_FLIGHT, NOISY_PERCENT
from broker.domain.queues.message_groups import MessageGroup, MessageGroups
from broker.domain.queues.picking import Picking


def is_noisy(held: int, in_flight: int) -> bool:
    """``held``: what the tenant has in flight, of ``in_flight`` in the whole queue."""
    return held >= NOISY_IN_FLIGHT and held * 100 > in_flight * NOISY_PERCENT


def pick_fairly(picking: Picking, wanted: int, plain: MessageGroup, named: MessageGroups, in_flight: int) -> None:
    """Take up to ``wanted`` messages; ``in_flight``: how many are before that."""
    noisy: dict[str, MessageGroup] = {}
    left = wanted

    def is_quiet(group: MessageGroup) -> bool:
        if is_noisy(group.held + picking.taken_from(group), in_flight + wanted - left):
            noisy[group.name] = group
        return group.name not in noisy

    while left and (group := named.first(is_quiet)) is not None:
        key, ahead = group.first_key(), plain.first_key()
        if ahead < key:
            left -= picking.take(plain, left, key)
            continue
        # Below the threshold a tenant cannot become noisy; from there on every message is judged anew.
        some = max(1, NOISY_IN_FLIGHT - group.held - picking.taken_from(group))
        left -= picking.take(group, min(left, some), min(ahead, named.bound_after(key)))
    if left:
        left -= picking.take(plain, left)
    for group in noisy.values():
        named.offer(group)
    while left and (found := named.first(_any)) is not None:
        left -= picking.take(found, left, named.bound_after(found.first_key()))


def _any(_: MessageGroup) -> bool:
    return True

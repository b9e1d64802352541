"""What a queue shows without being received from, as plainly as it can be said."""

from __future__ import annotations

from itertools import pairwise

from broker.domain.queues.model import DELAYED, IN_FLIGHT, VISIBLE, Counts
from broker.domain.queues.questions import Browse, Browsed, BrowsePage, Census, CensusOf
from tests.properties.queues.naive_queue import NaiveMessage, NaiveQueue

FOR_EVER = 1 << 62


def counts(queue: NaiveQueue) -> Counts:
    return Counts(
        visible=len(queue.at_place(VISIBLE)),
        in_flight=len(queue.at_place(IN_FLIGHT)),
        delayed=len(queue.at_place(DELAYED)),
        oldest_sent_at=min((message.sent for message in queue.messages), default=None),
        sent_total=queue.sent,
        received_total=queue.received,
        deleted_total=queue.deleted,
        expired_total=queue.expired,
        moving=queue.moving,
        moved_total=queue.moved,
        arrived_total=queue.arrived,
        duplicates_total=queue.duplicates,
        message_groups=len(_groups(queue)),
    )


def browse(queue: NaiveQueue, question: Browse) -> BrowsePage:
    found = [
        _browsed(queue, message)
        for message in sorted(queue.messages, key=lambda message: message.key)
        if message.key > question.after
        and message.place in question.states
        and question.since <= message.sent < (FOR_EVER if question.until is None else question.until)
    ]
    return BrowsePage(tuple(found[: question.limit]), len(found) > question.limit)


def census(queue: NaiveQueue, question: CensusOf) -> Census:
    ages = {
        place: tuple(
            sum(least <= message.sent < most for message in queue.at_place(place))
            for least, most in pairwise([0, *question.bounds, FOR_EVER])
        )
        for place in (VISIBLE, IN_FLIGHT, DELAYED)
    }
    groups = []
    for name in _groups(queue):
        held = sum(message.group == name for message in queue.at_place(IN_FLIGHT))
        all_there = sum(message.group == name for message in queue.messages)
        groups.append((name, all_there - held, held))
    groups.sort(key=lambda group: (-group[1] - group[2], group[0]))
    return Census(ages, tuple(groups[: question.top]))


def _groups(queue: NaiveQueue) -> set[str]:
    """Named ones that have messages here or on their way out."""
    return {message.group for message in queue.messages + queue.away} - {""}


def _browsed(queue: NaiveQueue, message: NaiveMessage) -> Browsed:
    until = 0 if message.place == VISIBLE else queue.due(message)
    return Browsed(
        message.index, message.slot, message.place, message.sent, until, message.count, message.first, message.group
    )

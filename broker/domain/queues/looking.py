"""Answers about one queue: what it is, how much it holds, and what, without anything being received or changed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from broker.base.instants import WallMillis
from broker.domain.queues import census, questions
from broker.domain.queues.fifo import FifoQueue
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.model import DELAYED, IN_FLIGHT, VISIBLE, Counts, Described
from broker.domain.queues.queue import Queue
from broker.domain.queues.standard import StandardQueue


def described(queue: Queue) -> Described:
    return Described(
        queue=queue.id,
        name=queue.name,
        attributes=queue.attributes,
        created_at=queue.created_at,
        modified_at=queue.modified_at,
        groups=queue.groups,
        target=queue.target,
        redrive_suspended_until=queue.suspended_until,
    )


def counts(queue: Queue) -> Counts:
    return Counts(
        visible=queue.visible,
        in_flight=len(queue.in_flight),
        delayed=queue.delayed_messages,
        oldest_sent_at=queue.oldest_sent(),
        sent_total=queue.sent_total,
        received_total=queue.received_total,
        deleted_total=queue.deleted_total,
        expired_total=queue.expired_total,
        moving=queue.moving,
        moved_total=queue.moved_total,
        arrived_total=queue.arrived_total,
        duplicates_total=queue.duplicates_total,
        message_groups=len(queue.named),
    )


def sources(queues: Iterable[Queue], target: str) -> tuple[str, ...]:
    """Names, ascending, of those whose redrive policy names ``target``."""
    return tuple(
        sorted(
            queue.name
            for queue in queues
            if queue.attributes.redrive is not None and queue.attributes.redrive.target == target
        )
    )


def browse(queue: Queue, question: questions.Browse, _: WallMillis) -> questions.BrowsePage:
    found: list[Iterator[questions.Browsed]] = []
    after, since = question.after, question.since
    if VISIBLE in question.states:
        found += _visible(queue, after, since)
    if DELAYED in question.states:
        found += _delayed(queue, after, since)
    if IN_FLIGHT in question.states:
        found.append(census.in_flight(_held(queue, after)))
    return census.page(found, question.limit, since, question.until)


def census_of(queue: Queue, question: questions.CensusOf, _: WallMillis) -> questions.Census:
    bounds = question.bounds
    held = sorted(batch.sents[bisect_left(batch.keys, key)] for key, batch in queue.in_flight.holders.items())

    def held_before(instant: int) -> int:
        return bisect_left(held, instant)

    def delayed_before(instant: int) -> int:
        return _delayed_before(queue, instant)

    def visible_before(instant: int) -> int:
        before = sum(_waiting_before(group, instant) for group in (queue.plain, *queue.named.by_name.values()))
        return before - queue.unripe.sent_before(instant) if isinstance(queue, FifoQueue) else before

    ages = {
        VISIBLE: census.ages(visible_before, queue.visible, bounds),
        IN_FLIGHT: census.ages(held_before, len(held), bounds),
        DELAYED: census.ages(delayed_before, queue.delayed_messages, bounds),
    }
    groups = ((group.name, group.messages + group.scheduled, group.held) for group in queue.named.by_name.values())
    return questions.Census(ages, census.largest(groups, question.top))


def moves(queue: Queue, _: questions.MovesOf, __: WallMillis) -> tuple[questions.Move, ...]:
    return tuple(task.listed() for task in reversed(queue.moves))


def knows_attempt(queue: Queue, question: questions.KnowsAttempt, at: WallMillis) -> bool:
    return isinstance(queue, FifoQueue) and queue.would_repeat(question.attempt, at)


ANSWERS: dict[type, Callable[[Any, Any, WallMillis], Any]] = {
    questions.HasVisible: lambda queue, _, at: queue.has_visible(at),
    questions.CountsOf: lambda queue, _, __: counts(queue),
    questions.AttributesOf: lambda queue, _, __: described(queue),
    questions.Browse: browse,
    questions.CensusOf: census_of,
    questions.MovesOf: moves,
    questions.KnowsAttempt: knows_attempt,
}


def _visible(queue: Queue, after: int, since: int) -> Iterator[Iterator[questions.Browsed]]:
    bound = queue.unripe.first_key() if isinstance(queue, FifoQueue) else None
    for group in (queue.plain, *queue.named.by_name.values()):
        if group.fresh.messages:
            rows = group.fresh.rows(after, since)
            yield census.fresh(rows if bound is None else _below(rows, bound), group.name)
        if group.returned.messages:
            yield census.returned(group.returned.rows(after, since), group.name)


def _delayed(queue: Queue, after: int, since: int) -> Iterator[Iterator[questions.Browsed]]:
    if isinstance(queue, FifoQueue):
        least = max(after, queue.unripe.first_key() - 1)
        for group in queue.named.by_name.values() if queue.unripe.messages else ():
            yield census.delayed(group.fresh.rows(least, since), queue.attributes.delay, group.name)
    elif isinstance(queue, StandardQueue):
        for delay, lane in sorted(queue.delayed.lanes.items()):
            yield census.delayed(lane.rows(after, since), delay, "")
        yield census.scheduled(queue.scheduled.rows(after, since), lambda number: queue.group_of(number).name)


def _held(queue: Queue, after: int) -> Iterator[tuple[Any, int, str]]:
    holders = queue.in_flight.holders
    for key in sorted(key for key in holders if key > after):
        batch = holders[key]
        yield batch.row(key, batch.sents[bisect_left(batch.keys, key)]), batch.until, batch.group.name


def _below(rows: Iterator[tuple[int, int]], bound: int) -> Iterator[tuple[int, int]]:
    for row in rows:
        if row[0] >= bound:
            return
        yield row


def _waiting_before(group: MessageGroup, instant: int) -> int:
    return group.fresh.sent_before(instant) + group.returned.sent_before(instant)


def _delayed_before(queue: Queue, instant: int) -> int:
    if isinstance(queue, FifoQueue):
        return queue.unripe.sent_before(instant)
    if isinstance(queue, StandardQueue):
        lanes = sum(lane.sent_before(instant) for lane in queue.delayed.lanes.values())
        return lanes + queue.scheduled.sent_before(instant)
    return 0

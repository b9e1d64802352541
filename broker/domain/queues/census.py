"""How the messages of a queue are shown without being received: page by page, by age, by message group.

A queue gives the rows of its places, each ascending by key; here they are merged, cut to a page and counted. Rows are
only taken as far as they are needed. Nothing here changes anything, or knows where messages are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge, nsmallest
from itertools import islice, takewhile

from broker.base.instants import WallMillis
from broker.domain.queues.keys import SLOT_BITS, SLOT_MASK, message_key
from broker.domain.queues.model import DELAYED, IN_FLIGHT, VISIBLE
from broker.domain.queues.questions import Browsed, BrowsePage
from broker.domain.queues.returned import Row
from broker.domain.queues.scheduled import Row as ScheduledRow

GroupCount = tuple[str, int, int]
"""name, visible and delayed, in flight"""

# --- what a row of each place shows


def fresh(rows: Iterable[tuple[int, int]], group: str) -> Iterator[Browsed]:
    """Visible, never received. ``rows``: key, sent at."""
    for key, sent in rows:
        yield _browsed(key, VISIBLE, sent, 0, 0, 0, group)


def returned(rows: Iterable[Row], group: str) -> Iterator[Browsed]:
    """Received before, and visible again."""
    for key, sent, first, _, count in rows:
        yield _browsed(key, VISIBLE, sent, 0, count, first, group)


def delayed(rows: Iterable[tuple[int, int]], delay: int, group: str) -> Iterator[Browsed]:
    """Sent with a delay of so many milliseconds. ``rows``: key, sent at."""
    for key, sent in rows:
        yield _browsed(key, DELAYED, sent, sent + delay, 0, 0, group)


def scheduled(rows: Iterable[ScheduledRow], groups: Callable[[int], str]) -> Iterator[Browsed]:
    """Waiting for an instant of their own. ``groups``: name of a message group by its number, "" for 0."""
    for key, sent, due, group in rows:
        yield _browsed(key, DELAYED, sent, due, 0, 0, groups(group))


def in_flight(rows: Iterable[tuple[Row, int, str]]) -> Iterator[Browsed]:
    """Held until an instant. ``rows``: the message, that instant, its message group."""
    for (key, sent, first, _, count), until, group in rows:
        yield _browsed(key, IN_FLIGHT, sent, until, count, first, group)


def _browsed(key: int, state: str, sent: int, until: int, count: int, first: int, group: str) -> Browsed:
    return Browsed(
        key >> SLOT_BITS, key & SLOT_MASK, state, WallMillis(sent), WallMillis(until), count, WallMillis(first), group
    )


# --- pages


def page(sources: Iterable[Iterator[Browsed]], limit: int, since: int, until: int | None) -> BrowsePage:
    """The first ``limit`` messages of all sources, by key, that were sent from ``since`` and before ``until``. In each
    source keys ascend and send times do not descend."""
    messages: Iterator[Browsed] = merge(*sources, key=_key)
    if until is not None:
        messages = takewhile(lambda message: message.sent_at < until, messages)
    messages = (message for message in messages if message.sent_at >= since)
    found = tuple(islice(messages, limit))
    return BrowsePage(found, len(found) == limit and next(messages, None) is not None)


def _key(message: Browsed) -> int:
    return message_key(message.index, message.slot)


# --- counts


def ages(sent_before: Callable[[int], int], total: int, bounds: Iterable[int]) -> tuple[int, ...]:
    """Of ``total`` messages, how many were sent before the first of the ascending ``bounds``, from there on before the
    next one, and so on, and last how many later than that. ``sent_before``: how many were sent before an instant."""
    counts: list[int] = []
    counted = 0
    for bound in bounds:
        before = sent_before(bound)
        counts.append(before - counted)
        counted = before
    return (*counts, total - counted)


def largest(groups: Iterable[GroupCount], top: int) -> tuple[GroupCount, ...]:
    """The ``top`` message groups with most messages, the largest first, equal ones by name."""
    return tuple(nsmallest(top, groups, key=lambda group: (-group[1] - group[2], group[0])))

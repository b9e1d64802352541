"""Looking into a queue without receiving: its messages page by page, and a census of how old they are and whose.

Nothing here changes anything. What is shown was true, confirmed with a quorum, when the page was asked for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import msgspec

from broker.base.errors import InvalidArgument
from broker.base.ids import GroupId, MessageId, QueueId
from broker.base.instants import DAY, MINUTE, SECOND, Millis, WallMillis
from broker.base.limits import MIB
from broker.domain.directory.commands import Resource
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import STATES, Attribute, Message, Origin
from broker.domain.queues.questions import Browse, Browsed, BrowsePage, Census, CensusOf
from broker.domain.queues.validation import check_browse
from broker.replication.groups import Groups
from broker.services.contents import Contents
from broker.services.locating import Locator
from broker.services.receiving import ANSWER_SIZE, size_in_answer
from broker.services.replies import accepted
from broker.services.routing import Routing
from broker.services.sending import ROOM
from broker.services.striping import stripes_to_read
from broker.services.use_cases import UseCase

AGES = (
    SECOND,
    Millis(10 * SECOND),
    MINUTE,
    Millis(10 * MINUTE),
    Millis(60 * MINUTE),
    Millis(6 * 60 * MINUTE),
    DAY,
    Millis(4 * DAY),
)
TOP_GROUPS = 10
MAX_READ = 32 * MIB
"""Bytes of log entries that are read for one page: messages far apart make a shorter one."""

_TOKEN = re.compile(r"([0-9]{1,20})\.([0-9]{1,10})\.(-1|[0-9]{1,20})", re.ASCII)
_SHOWN = 100


class BrowseRequest(msgspec.Struct, frozen=True):
    """``states``: of model.STATES, all when empty. ``token``: next_token of the page before, "" for the first one.
    Messages sent from ``since`` and before ``until``; ``limit`` a page."""

    states: tuple[str, ...] = ()
    token: str = ""
    limit: int = 100
    since: WallMillis = WallMillis(0)
    until: WallMillis | None = None


class BrowsedMessage(msgspec.Struct, frozen=True, array_like=True):
    """``until``: when it changes by time alone, 0 for a visible one. ``group``, ``deduplication``: "" for none."""

    id: bytes
    state: str
    sent_at: WallMillis
    until: WallMillis
    receive_count: int
    first_received_at: WallMillis
    group: str
    body: bytes
    attributes: tuple[Attribute, ...]
    deduplication: str
    origin: Origin | None


class BrowseAnswer(msgspec.Struct, frozen=True):
    """``next_token`` "": there are no more. A page may hold fewer messages than asked for, and not be the last."""

    messages: list[BrowsedMessage]
    next_token: str


class PageRequest(msgspec.Struct, frozen=True, array_like=True):
    """As questions.Browse."""

    queue: QueueId
    states: tuple[str, ...]
    after: int
    limit: int
    since: WallMillis
    until: WallMillis | None


class PageAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``more``: there are others, with keys above ``last``."""

    messages: list[BrowsedMessage]
    last: int
    more: bool


class CensusRequest(msgspec.Struct, frozen=True, array_like=True):
    """``ages`` ascending, in milliseconds; ``top``: how many message groups are named."""

    queue: QueueId
    ages: tuple[Millis, ...]
    top: int


class CensusAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``ages`` by state: how many messages are at most as old as each of ``bounds`` (ms, ascending) and older than the
    one before it, and at last those older than all. ``groups``: (name, waiting, in flight), those with most messages
    first. ``at``: the answering leader's clock."""

    bounds: list[Millis]
    ages: dict[str, list[int]]
    groups: list[tuple[str, int, int]]
    at: WallMillis


class Browsing:
    def __init__(self, groups: Groups, locator: Locator, routing: Routing, contents: Contents) -> None:
        self._groups = groups
        self._routing = routing
        self._contents = contents
        self._paging = UseCase("queues.browse", PageRequest, PageAnswer, self._page_here)
        self._counting = UseCase("queues.census", CensusRequest, CensusAnswer, self._census_here)
        locator.serve(self._paging)
        locator.serve(self._counting)

    async def browse(self, name: str, wanted: BrowseRequest, deadline: Millis) -> BrowseAnswer:
        check_browse(wanted.states, wanted.limit, wanted.since, wanted.until)
        states = wanted.states or STATES
        of_queue, begin, after = _read_token(wanted.token) if wanted.token else (None, GroupId(0), -1)

        async def browse(resource: Resource, _: bool) -> BrowseAnswer:
            """Group after group, until there is something to show."""
            queue = QueueId(resource.id)
            if of_queue not in (None, queue):
                raise InvalidArgument(
                    f"page token {wanted.token!r} is of another queue, or of a deleted one of the same name: begin anew"
                )
            groups = [group for group in sorted(stripes_to_read(resource)) if group >= begin]
            for position, group in enumerate(groups):
                since = after if group == begin else -1
                request = PageRequest(queue, states, since, wanted.limit, wanted.since, wanted.until)
                page = await self._routing.if_there(resource, group, self._paging, request, deadline)
                if page is not None and page.more:
                    return BrowseAnswer(page.messages, f"{queue}.{group}.{page.last}")
                if page is not None and page.messages:
                    further = groups[position + 1 :]
                    return BrowseAnswer(page.messages, f"{queue}.{further[0]}.-1" if further else "")
            return BrowseAnswer([], "")

        return await self._routing.found(name, browse, deadline, anew=True)

    async def census(self, name: str, deadline: Millis) -> CensusAnswer:
        async def census(resource: Resource, _: bool) -> CensusAnswer:
            request = CensusRequest(QueueId(resource.id), AGES, TOP_GROUPS)
            found = await self._routing.on_all(resource, self._counting, request, deadline)
            return _summed([answer for _, answer in found])

        return await self._routing.found(name, census, deadline, anew=True)

    async def _page_here(self, group: GroupId, wanted: PageRequest, deadline: Millis) -> PageAnswer:
        """Raises QueueNotFound, DataCorrupt, and what a query raises."""
        question = Browse(wanted.queue, wanted.states, wanted.after, wanted.limit, wanted.since, wanted.until)
        found: BrowsePage = accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))
        messages: list[BrowsedMessage] = []
        size = read = 0
        last, left = wanted.after, len(found.messages)
        for each in found.messages:
            if read >= MAX_READ:
                break
            if not self._contents.keeps(group, each.index):
                await asyncio.sleep(0)  # whoever sends and receives goes first
            content = self._contents.of_entry(group, each.index)
            if content is not None:  # None: deleted meanwhile, with all its neighbours
                message, deduplication = content.messages[each.slot], content.deduplication_of(each.slot)
                size += size_in_answer(message, each.group, deduplication)
                if size > ANSWER_SIZE and messages:
                    break
                read += content.size
                messages.append(_browsed(group, each, message, deduplication))
            last = message_key(each.index, each.slot)
            left -= 1
        return PageAnswer(messages, last, bool(left) or found.more)

    async def _census_here(self, group: GroupId, wanted: CensusRequest, deadline: Millis) -> CensusAnswer:
        """Raises QueueNotFound, and what a query raises."""
        at = self._groups.clock.wall()
        bounds = tuple(WallMillis(at - age) for age in reversed(wanted.ages))
        question = CensusOf(wanted.queue, bounds, wanted.top)
        found: Census = accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))
        ages = {state: list(reversed(counts)) for state, counts in found.ages.items()}
        return CensusAnswer(list(wanted.ages), ages, list(found.groups), at)

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self._groups.clock.monotonic())


def _summed(found: Sequence[CensusAnswer]) -> CensusAnswer:
    """Of the groups of one queue, the home group first."""
    home = found[0]
    if len(found) == 1:
        return home
    ages = {
        state: [sum(counts) for counts in zip(*(each.ages[state] for each in found), strict=True)]
        for state in home.ages
    }
    groups: dict[str, tuple[int, int]] = {}
    for each in found:
        for name, waiting, in_flight in each.groups:
            others = groups.get(name, (0, 0))
            groups[name] = others[0] + waiting, others[1] + in_flight
    most = sorted(groups.items(), key=lambda item: (-sum(item[1]), item[0]))[:TOP_GROUPS]
    return CensusAnswer(home.bounds, ages, [(name, *counts) for name, counts in most], home.at)


def _read_token(token: str) -> tuple[QueueId, GroupId, int]:
    """Of which queue, in which group to go on, and after which key. Raises InvalidArgument."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidArgument(f"page token {token[:_SHOWN]!r} is none: use it exactly as received, or leave it out")
    return QueueId(int(match[1])), GroupId(int(match[2])), int(match[3])


def _browsed(group: GroupId, each: Browsed, message: Message, deduplication: str) -> BrowsedMessage:
    return BrowsedMessage(
        MessageId(group, each.index, each.slot).to_bytes(),
        each.state,
        each.sent_at,
        each.until,
        each.receive_count,
        each.first_received_at,
        each.group,
        message.body,
        message.attributes,
        deduplication,
        message.origin,
    )

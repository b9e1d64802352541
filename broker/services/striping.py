"""Which of a queue's groups, its stripes, a call goes to; and what several of them answered, as one answer.

Where it decides whether a message is stored twice or out of order the choice follows from the call alone: every node
makes it alike. Otherwise stripes that this node leads are preferred, because another node would have to be asked, and
all of them have their turns. This room must not know how a call gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

import msgspec

from broker.base.ids import GroupId, QueueId
from broker.domain.directory.commands import Resource
from broker.domain.queues.model import Counts
from broker.replication.groups import Groups
from broker.services.administering import Description

ROUND_ALL = 8
"""Every so many receives of a queue begin with the next one of all stripes, led here or not: none may starve."""
MAX_QUEUES = 100_000
"""Queues whose turns are remembered."""


def stripe_of_session(stripes: tuple[GroupId, ...], session: bytes) -> GroupId:
    """Where a standard queue keeps what is sent under the session's request ids."""
    return stripes[0] if len(stripes) == 1 else stripes_by_session(stripes, session)[0]


@lru_cache(maxsize=65_536)
def stripes_by_session(stripes: tuple[GroupId, ...], session: bytes) -> tuple[GroupId, ...]:
    """In the session's order of preference.

    Highest random weight (Thaler and Ravishankar, 1998): when stripes come or go, only those sessions move that must.
    """

    def weight(group: GroupId) -> bytes:
        return blake2b(session, digest_size=8, salt=group.to_bytes(8, "big")).digest()

    return tuple(sorted(stripes, key=weight, reverse=True))


def stripe_of_message_group(stripes: tuple[GroupId, ...], message_group: str) -> GroupId:
    """Where a FIFO queue keeps a message group."""
    return stripes[crc32(message_group.encode()) % len(stripes)]


def stripes_to_read(resource: Resource) -> tuple[GroupId, ...]:
    """Those that may hold messages, the home group first."""
    return resource.groups + resource.draining


class Turns:
    """This node's rounds over the stripes of each queue."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._sends: dict[QueueId, int] = {}
        self._receives: dict[QueueId, int] = {}

    def to_send(self, queue: QueueId, stripes: Sequence[GroupId]) -> GroupId:
        """One that this node leads, if any; otherwise one that somebody is known to lead, if any."""
        groups = self._groups
        turn = _next(self._sends, queue)
        likely = self.led_here(stripes)
        likely = likely or [stripe for stripe in stripes if groups.leader_of(stripe) is not None] or list(stripes)
        return likely[turn % len(likely)]

    def to_receive(self, queue: QueueId, stripes: Sequence[GroupId], near: bool = False) -> list[GroupId]:
        """In the order in which to look for messages: all, or, most times, if ``near``, those that this node leads."""
        turn = _next(self._receives, queue)
        if turn % ROUND_ALL == ROUND_ALL - 1:
            return _turned(stripes, turn // ROUND_ALL)
        here = self.led_here(stripes)
        if near and here:
            return _turned(here, turn)
        elsewhere = [stripe for stripe in stripes if stripe not in here]
        return _turned(here, turn) + _turned(elsewhere, turn)

    def led_here(self, stripes: Sequence[GroupId]) -> list[GroupId]:
        return [stripe for stripe in stripes if self._groups.leads(stripe)]


def summed(resource: Resource, found: Sequence[Description]) -> Description:
    """``found`` of the home group first. Which stripes there are the directory knows best."""
    home = found[0]
    attributes = msgspec.structs.replace(home.queue.attributes, stripes=len(resource.groups))
    queue = msgspec.structs.replace(home.queue, attributes=attributes, groups=resource.groups)
    counts = home.counts
    for each in found[1:]:
        counts = added(counts, each.counts)
    return msgspec.structs.replace(home, queue=queue, counts=counts)


def added(one: Counts, other: Counts) -> Counts:
    """Of two stripes together."""
    total = {name: getattr(one, name) + getattr(other, name) for name in _ADDED}
    oldest = min((at for at in (one.oldest_sent_at, other.oldest_sent_at) if at is not None), default=None)
    return Counts(oldest_sent_at=oldest, **total)


_ADDED = tuple(name for name in Counts.__struct_fields__ if name != "oldest_sent_at")


def _next(turns: dict[QueueId, int], queue: QueueId) -> int:
    turn = turns.get(queue, -1) + 1
    if turn == 0 and len(turns) >= MAX_QUEUES:
        turns.clear()
    turns[queue] = turn
    return turn


def _turned(stripes: Sequence[GroupId], by: int) -> list[GroupId]:
    if not stripes:
        return []
    first = by % len(stripes)
    return [*stripes[first:], *stripes[:first]]

"""Which parcels go where and when: the courier's decisions for one group, without I/O, clock or chance.

What is in a group's outbox bears ascending numbers. In that order each parcel is addressed to another group and joins
the lane that leads there. A lane sends its next command only when the last one has been answered, so that the far side
sees ascending numbers, whatever is repeated. What it answered is noted in the source, in batches; until that is done a
parcel may be carried once more, which does no harm. Why this neither loses nor doubles anything is told in
docs/decisions/0009. A lane that gets no answer waits and holds up no other one, up to ``look_ahead`` parcels.

This room must not know what a parcel is, nor how a command finds its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

import msgspec

from broker.base.errors import BrokerError, DataCorrupt, Refusal
from broker.base.ids import GroupId
from broker.base.instants import SECOND, Millis, earliest
from broker.base.limits import MAX_BATCH_ENTRIES, MIB


class Numbered(Protocol):
    @property
    def number(self) -> int: ...


Item = TypeVar("Item", bound=Numbered)


class Address(msgspec.Struct, frozen=True):
    """``group``: where a parcel goes, always the same for the same parcel. ``read``: bytes read to find out."""

    group: GroupId
    read: int = 0


class Nowhere(msgspec.Struct, frozen=True):
    """A parcel that no courier could carry anywhere, and why. ``read`` as in Address."""

    refusal: Refusal
    read: int = 0


class Packed(msgspec.Struct, frozen=True):
    """A command that holds the first ``count`` of the parcels asked for."""

    command: msgspec.Struct
    count: int


class Cargo(Protocol[Item]):
    """What is carried, read where the group is led: what its machine has applied, and its log."""

    def leaving(self, after: int, limit: int) -> Sequence[Item]:
        """What is in the outbox with a number above ``after``, ascending, up to ``limit``. Raises NotLeader."""

    def address(self, item: Item) -> Address | Nowhere:
        """Raises DataCorrupt when its content cannot be read, NotLeader."""

    def pack(self, items: Sequence[Item], settled: int) -> Packed:
        """Some of the first, at least one. ``settled``: the fate of all that went the same way with lower numbers has
        been noted. Raises DataCorrupt when the content of the very first cannot be read, NotLeader."""


class CarryingSettings(msgspec.Struct, frozen=True):
    """``look_ahead``: parcels in view at once, whatever becomes of them; ``page``: how many are looked at in one step,
    ``read``: and how many bytes are read in one to address them; ``batch``: parcels in one command. A failed step
    is tried again after ``first_pause`` ms, then after twice as long each time, up to ``longest_pause``."""

    look_ahead: int = 10_000
    page: int = 1_000
    read: int = 3 * MIB
    batch: int = MAX_BATCH_ENTRIES
    first_pause: Millis = Millis(20)
    longest_pause: Millis = Millis(5 * SECOND)


# --- inputs


class Woken(msgspec.Struct, frozen=True):
    """There may be more in the outbox than was looked at."""


class Answered(msgspec.Struct, frozen=True):
    """``target`` has taken in what the command under way held, except those numbers ``refused``, with why."""

    target: GroupId
    refused: tuple[tuple[int, Refusal], ...]


class Unanswered(msgspec.Struct, frozen=True):
    """What became of the command under way to ``target`` is unknown."""

    target: GroupId
    error: BrokerError


class Noted(msgspec.Struct, frozen=True):
    """The source has taken note."""


class Unnoted(msgspec.Struct, frozen=True):
    """Whether the source has taken note is unknown."""

    error: BrokerError


Input = Woken | Answered | Unanswered | Noted | Unnoted

# --- outputs


class Carry(msgspec.Struct, frozen=True):
    """Have the machine of ``target`` carry out ``command``; then Answered or Unanswered."""

    target: GroupId
    command: msgspec.Struct


class Note(msgspec.Struct, Generic[Item], frozen=True):
    """Have the source take note: numbers ``accepted``, and parcels ``returned`` with why; then Noted or Unnoted."""

    accepted: tuple[int, ...]
    returned: tuple[tuple[Item, Refusal], ...]


class Stuck(msgspec.Struct, frozen=True):
    """For the operator: a parcel that cannot be read stays, and with it those behind it on its lane."""

    number: int
    error: DataCorrupt


Output = Carry | Note[Item] | Stuck


class Carrying(Generic[Item]):
    """For as long as one node leads one group: a successor begins anew, with what it finds in the outbox."""

    def __init__(self, cargo: Cargo[Item], settings: CarryingSettings) -> None:
        self._cargo = cargo
        self._settings = settings
        self._in_view: dict[int, Millis] = {}
        """Ascending numbers, and when they came into view."""
        self._looked_at = 0
        self._more = False
        """Beyond what was looked at."""
        self._unaddressed: deque[Item] = deque()
        self._addressing = _Retry(settings)
        self._lanes: dict[GroupId, _Lane[Item]] = {}
        self._fates: deque[_Fate[Item]] = deque()
        """Decided, to be noted."""
        self._noting: list[_Fate[Item]] = []
        """Being noted."""
        self._notes = _Retry(settings)
        self._at_once: Millis | None = None
        """Work was left over, for others to get their turn."""

    def __len__(self) -> int:
        """Parcels in view."""
        return len(self._in_view)

    def oldest(self) -> Millis | None:
        """Since when the longest known parcel is in view."""
        return next(iter(self._in_view.values()), None)

    # --- the three verbs

    def handle(self, happened: Input, now: Millis) -> list[Output[Item]]:
        match happened:
            case Woken():
                self._more = True
            case Answered(target, refused):
                self._lanes[target].answered(refused, self._fates)
            case Unanswered(target, error):
                self._lanes[target].unanswered(error, now)
            case Noted():
                self._noted()
            case Unnoted(error):
                self._fates.extendleft(reversed(self._noting))
                self._noting = []
                self._notes.failed(error, now)
        return self.wake(now)

    def next_deadline(self) -> Millis | None:
        return earliest(
            self._at_once,
            self._addressing.deadline if self._unaddressed else None,
            self._notes.deadline if self._fates and not self._noting else None,
            *(lane.retry.deadline for lane in self._lanes.values() if lane.waiting and not lane.under_way),
        )

    def wake(self, now: Millis) -> list[Output[Item]]:
        outputs: list[Output[Item]] = []
        self._at_once = None
        self._look(now)
        self._address(now, outputs)
        for target, lane in self._lanes.items():
            self._send(target, lane, now, outputs)
        self._note(now, outputs)
        return outputs

    # --- inside

    def _look(self, now: Millis) -> None:
        page = self._settings.page
        if not self._more or len(self._in_view) + page > self._settings.look_ahead:
            return
        found = self._cargo.leaving(self._looked_at, page)
        self._more = len(found) == page
        for item in found:
            self._in_view[item.number] = now
            self._unaddressed.append(item)
            self._looked_at = item.number
        if self._more:
            self._at_once = now

    def _address(self, now: Millis, outputs: list[Output[Item]]) -> None:
        read = 0
        while self._unaddressed and self._addressing.due(now):
            if read >= self._settings.read:
                self._at_once = now
                return
            item = self._unaddressed[0]
            try:
                address = self._cargo.address(item)
            except DataCorrupt as error:
                self._unreadable(self._unaddressed, self._addressing, error, now, outputs)
                continue
            self._unaddressed.popleft()
            self._addressing.succeeded()
            read += address.read
            if isinstance(address, Nowhere):
                self._fates.append(_Fate(item, None, address.refusal))
                continue
            lane = self._lanes.get(address.group)
            if lane is None:
                lane = self._lanes[address.group] = _Lane(self._settings)
            lane.waiting.append(item)

    def _send(self, target: GroupId, lane: _Lane[Item], now: Millis, outputs: list[Output[Item]]) -> None:
        while lane.waiting and not lane.under_way and lane.retry.due(now):
            settled = lane.unnoted[0] if lane.unnoted else lane.waiting[0].number
            try:
                packed = self._cargo.pack(list(islice(lane.waiting, self._settings.batch)), settled)
            except DataCorrupt as error:
                self._unreadable(lane.waiting, lane.retry, error, now, outputs)
                continue
            lane.under_way = [lane.waiting.popleft() for _ in range(packed.count)]
            outputs.append(Carry(target, packed.command))

    def _note(self, now: Millis, outputs: list[Output[Item]]) -> None:
        if self._noting or not self._fates or not self._notes.due(now):
            return
        count = min(len(self._fates), self._settings.batch)
        self._noting = [self._fates.popleft() for _ in range(count)]
        accepted = tuple(fate.item.number for fate in self._noting if fate.refusal is None)
        returned = tuple((fate.item, fate.refusal) for fate in self._noting if fate.refusal is not None)
        outputs.append(Note(accepted, returned))

    def _noted(self) -> None:
        for fate in self._noting:
            del self._in_view[fate.item.number]
            if fate.lane is not None:
                fate.lane.unnoted.popleft()
        self._noting = []
        self._notes.succeeded()

    def _unreadable(
        self, line: deque[Item], retry: _Retry, error: DataCorrupt, now: Millis, outputs: list[Output[Item]]
    ) -> None:
        """It may not be skipped, nor given back: a predecessor may have carried it. Unless it has left the outbox, and
        its content with it: then its fate is sealed."""
        first = line[0].number
        there = self._cargo.leaving(first - 1, 1)
        if there and there[0].number == first:
            retry.failed(error, now)
            outputs.append(Stuck(first, error))
        else:
            line.popleft()
            del self._in_view[first]


class _Retry:
    """When to try again. What is not expected to pass by itself is tried no oftener than need be."""

    __slots__ = ("_pause", "_settings", "deadline")

    def __init__(self, settings: CarryingSettings) -> None:
        self.deadline: Millis | None = None
        self._settings = settings
        self._pause = settings.first_pause

    def due(self, now: Millis) -> bool:
        return self.deadline is None or self.deadline <= now

    def failed(self, error: BrokerError, now: Millis) -> None:
        longest = self._settings.longest_pause
        pause = self._pause if error.retryable else longest
        self.deadline = Millis(now + pause)
        self._pause = min(Millis(pause * 2), longest)

    def succeeded(self) -> None:
        self.deadline = None
        self._pause = self._settings.first_pause


class _Lane(Generic[Item]):
    """What goes to one group, in order: ``waiting``, then ``under_way``, then decided and ``unnoted``."""

    __slots__ = ("retry", "under_way", "unnoted", "waiting")

    def __init__(self, settings: CarryingSettings) -> None:
        self.waiting: deque[Item] = deque()
        self.under_way: list[Item] = []
        self.unnoted: deque[int] = deque()
        self.retry = _Retry(settings)

    def answered(self, refused: tuple[tuple[int, Refusal], ...], fates: deque[_Fate[Item]]) -> None:
        reasons = dict(refused)
        for item in self.under_way:
            self.unnoted.append(item.number)
            fates.append(_Fate(item, self, reasons.get(item.number)))
        self.under_way = []
        self.retry.succeeded()

    def unanswered(self, error: BrokerError, now: Millis) -> None:
        self.waiting.extendleft(reversed(self.under_way))
        self.under_way = []
        self.retry.failed(error, now)


class _Fate(Generic[Item]):
    """What became of a parcel: taken in, or not, with why. No lane: it never went anywhere."""

    __slots__ = ("item", "lane", "refusal")

    def __init__(self, item: Item, lane: _Lane[Item] | None, refusal: Refusal | None) -> None:
        self.item = item
        self.lane = lane
        self.refusal = refusal

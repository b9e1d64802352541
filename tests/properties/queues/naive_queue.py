"""What one standard queue does, as plainly as it can be said: a list of messages, looked through from end to end.

Part of the yardstick for the real machine: no index, no heap, no care for speed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from broker.base.errors import Refusal
from broker.domain.queues import commands
from broker.domain.queues.commands import Deliveries, Delivery, Sent
from broker.domain.queues.model import DELAYED, IN_FLIGHT, VISIBLE, Handle, QueueAttributes, Target

HOURS_12 = 12 * 3600 * 1000
SLOTS = 1 << 16


class Refusing(Exception):
    """The code of the refusal."""


@dataclass
class NaiveMessage:
    """``hidden_until``: end of its delay or visibility timeout. ``ends``: of its own lifetime."""

    index: int
    slot: int
    sent: int
    group: str = ""
    place: str = VISIBLE
    hidden_until: int = 0
    ends: int | None = None
    receipt: int = 0
    count: int = 0
    received: int = 0
    first: int = 0
    was_away: bool = False

    @property
    def key(self) -> int:
        return self.index * SLOTS + self.slot

    @property
    def is_known(self) -> bool:
        """It was somewhere else than where new messages wait."""
        return self.receipt > 0 or self.was_away


@dataclass
class NaiveTask:
    task: int
    destination: Target | None
    rate: int
    to_move: int
    started_at: int
    label: str
    status: str = "running"
    failure: str = ""
    taken: int = 0
    outstanding: int = 0
    moved: int = 0


@dataclass
class Rules:
    """Of this model and of the machine alike."""

    in_flight_limit: int
    noisy_in_flight: int
    noisy_percent: int
    max_moving: int


def rounded_up(delay: int) -> int:
    step = 10 if delay <= 1_000 else 100 if delay <= 60_000 else 1_000
    while delay % step:
        delay += 1
    return delay


@dataclass(eq=False)
class NaiveQueue:
    id: int
    name: str
    attributes: QueueAttributes
    target: Target | None
    rules: Rules
    messages: list[NaiveMessage] = field(default_factory=list)
    away: list[NaiveMessage] = field(default_factory=list)
    """Left for another queue and not answered for; a purge forgets them."""
    endings: list[int] = field(default_factory=list)
    """Of lifetimes: also of messages that are gone."""
    tasks: list[NaiveTask] = field(default_factory=list)
    purged: tuple[int, int] | None = None
    """When, and by which command."""
    suspended_until: int = 0
    sent: int = 0
    received: int = 0
    deleted: int = 0
    expired: int = 0
    duplicates: int = 0
    moved: int = 0
    moving: int = 0
    arrived: int = 0
    woken: int = 0

    def at_place(self, place: str) -> list[NaiveMessage]:
        return [message for message in self.messages if message.place == place]

    def find(self, key: int) -> NaiveMessage | None:
        return next((message for message in self.messages if message.key == key), None)

    def is_ready(self) -> bool:
        """Whether a receive would find something."""
        return bool(self.at_place(VISIBLE))

    def due(self, message: NaiveMessage) -> int:
        """When an invisible message becomes visible."""
        return message.hidden_until

    # --- waking

    def became_visible(self, messages: int) -> None:
        self.woken += messages

    def note_what_is_ready(self) -> None:
        """Between steps; of no concern here."""

    def check_woken(self, count: int) -> None:
        assert count == self.woken

    # --- time

    def expire(self, at: int) -> None:
        kept = [
            message
            for message in self.messages
            if message.sent + self.attributes.retention > at and (message.ends is None or message.ends > at)
        ]
        self.expired += len(self.messages) - len(kept)
        self.messages = kept
        self.endings = [ending for ending in self.endings if ending > at]

    def surface(self, at: int) -> None:
        for message in self.messages:
            if message.place != VISIBLE and self.due(message) <= at:
                message.place = VISIBLE
                self.became_visible(1)

    def next_change(self) -> int | None:
        """When time alone next changes anything; what ends for good in whole seconds."""
        ends = [self.due(message) for message in self.messages if message.place != VISIBLE]
        expiries = [message.sent + self.attributes.retention for message in self.messages] + self.endings
        return min([*ends, *(-(-expiry // 1000) * 1000 for expiry in expiries)], default=None)

    # --- sending

    def send(self, command: commands.Send, index: int, at: int) -> Sent:
        for slot in range(command.count):
            due = 0 if command.due is None else command.due[slot]
            delay = self.attributes.delay if command.delays is None else command.delays[slot]
            until = due or at + rounded_up(delay)
            self.new_message(command, index, slot, at, until)
        self.sent += command.count
        return Sent(index, command.count, at)

    def new_message(self, command: commands.Send, index: int, slot: int, at: int, until: int) -> NaiveMessage:
        group = "" if command.groups is None else command.groups[slot]
        lifetime = 0 if command.lifetimes is None else command.lifetimes[slot]
        message = self.put(index, slot, at, group, until)
        if lifetime:
            message.ends = at + rounded_up(lifetime)
            self.endings.append(message.ends)
        return message

    def put(self, index: int, slot: int, at: int, group: str, until: int) -> NaiveMessage:
        message = NaiveMessage(index, slot, at, group, DELAYED if until > at else VISIBLE, until)
        self.messages.append(message)
        if until <= at:
            self.became_visible(1)
        return message

    def arrive(self, arrival: commands.Arrival, index: int, slot: int, at: int) -> None:
        self.put(index, slot, at, arrival.group, at + rounded_up(self.attributes.delay))
        self.arrived += 1

    # --- receiving

    def receive(self, command: commands.Receive, index: int, at: int) -> tuple[Deliveries, list[NaiveMessage]]:
        """Also the dead letters."""
        timeout = command.visibility_timeout
        if timeout is None:
            timeout = self.attributes.visibility_timeout
        room = self.rules.in_flight_limit - len(self.at_place(IN_FLIGHT))
        if self.at_place(VISIBLE) and room <= 0:
            raise Refusing("OverLimit")
        taken, dead = self.pick(min(room, command.max_messages), self.most_receives(at))
        for message in dead:
            self.leave(message)
        deliveries = []
        for message in taken:
            message.count += 1
            message.first = message.first or at
            message.receipt, message.received, message.hidden_until = index, at, at + timeout
            message.place = IN_FLIGHT if timeout else VISIBLE
            deliveries.append(delivery_of(message))
        if not timeout:
            self.became_visible(len(taken))
        self.received += len(deliveries)
        return Deliveries(tuple(deliveries), at + timeout), dead

    def pick(self, wanted: int, most: int) -> tuple[list[NaiveMessage], list[NaiveMessage]]:
        """The oldest, except that those of noisy tenants come last; and the dead letters found before the last one."""
        waiting = self.at_place(VISIBLE)
        taken: list[NaiveMessage] = []
        dead: list[NaiveMessage] = []
        noisy: set[str] = set()
        while len(taken) < wanted and waiting:
            quiet = [message for message in waiting if message.group not in noisy] or waiting
            tenant = next((message.group for message in quiet if message.group), "")
            if tenant and tenant not in noisy and self._is_noisy(tenant, taken):
                noisy.add(tenant)
                continue
            message = quiet[0]
            waiting.remove(message)
            (dead if message.count >= most else taken).append(message)
        return taken, dead

    def _is_noisy(self, tenant: str, taken: list[NaiveMessage]) -> bool:
        in_flight = self.at_place(IN_FLIGHT) + taken
        held = sum(message.group == tenant for message in in_flight)
        return held >= self.rules.noisy_in_flight and held * 100 > len(in_flight) * self.rules.noisy_percent

    def most_receives(self, at: int) -> int:
        redrive = self.attributes.redrive
        if redrive is None or self.target is None or at < self.suspended_until:
            return 1 << 30
        return redrive.max_receive_count

    # --- deleting, visibility, cancelling

    def delete(self, handles: Iterable[Handle], index: int) -> dict[int, str]:
        refused = {}
        for position, handle in enumerate(handles):
            message = self.find(handle.index * SLOTS + handle.slot)
            if not handle.index < handle.receipt < index:
                refused[position] = "ReceiptHandleInvalid"
            elif message is None or not message.is_known:
                continue
            elif message.receipt != handle.receipt:
                refused[position] = "ReceiptHandleExpired"
            else:
                self.messages.remove(message)
                self.deleted += 1
        return refused

    def holds(self, handle: Handle) -> bool:
        message = self.find(handle.index * SLOTS + handle.slot)
        return message is not None and handle.receipt > 0 and message.receipt == handle.receipt

    def change_visibility(self, command: commands.ChangeVisibility, at: int) -> dict[int, str]:
        refused = {}
        for position, (handle, timeout) in enumerate(zip(command.handles, command.timeouts, strict=True)):
            message = self.find(handle.index * SLOTS + handle.slot)
            if not 0 <= timeout <= HOURS_12:
                refused[position] = "InvalidArgument"
            elif message is None or message.place != IN_FLIGHT or message.receipt != handle.receipt:
                refused[position] = "ReceiptHandleExpired"
            elif at + timeout > message.received + HOURS_12:
                refused[position] = "InvalidArgument"
            else:
                message.hidden_until = at + timeout
                if not timeout:
                    message.place = VISIBLE
                    message.count -= command.uncounted
                    message.first = message.first if message.count else 0
                    self.became_visible(1)
        return refused

    def cancel(self, keys: Iterable[int]) -> dict[int, str]:
        refused = {}
        for position, key in enumerate(keys):
            message = self.find(key)
            if message is not None and message.place == DELAYED:
                self.messages.remove(message)
                self.deleted += 1
            else:
                refused[position] = "NotScheduled"
        return refused

    def purge(self, index: int, at: int) -> None:
        if self.purged is not None and at < self.purged[0] + 60_000:
            raise Refusing("PurgeInProgress")
        self.purged = at, index
        self.deleted += len(self.messages)
        self.messages, self.away, self.endings = [], [], []

    # --- leaving

    def may_leave(self) -> list[NaiveMessage]:
        """What a move task may take, in order."""
        return self.at_place(VISIBLE)

    def leave(self, message: NaiveMessage) -> None:
        self.messages.remove(message)
        self.away.append(message)
        self.moved += 1
        self.moving += 1

    def is_there(self, message: NaiveMessage) -> None:
        """It has arrived elsewhere."""
        self.moving -= 1
        if message in self.away:
            self.away.remove(message)

    def come_back(self, message: NaiveMessage, at: int) -> None:
        self.moving -= 1
        self.moved -= 1
        if message not in self.away:
            self.deleted += 1
            return
        self.away.remove(message)
        if message.ends is not None and message.ends <= at:
            self.expired += 1
            return
        message.place, message.was_away = VISIBLE, True
        self.messages.append(message)
        self.messages.sort(key=lambda message: message.key)
        self.became_visible(1)


def delivery_of(message: NaiveMessage) -> Any:
    return Delivery(
        message.index,
        message.slot,
        message.receipt,
        message.count,
        message.sent,
        message.first,
        message.group,
    )


def code_of(refusals: Iterable[tuple[int, Refusal]]) -> dict[int, str]:
    return {position: refusal.code for position, refusal in refusals}

"""What every queue is, standard or FIFO: messages that wait, are in flight or come back, their counts and their end.

The caller lets time pass (``expire``, ``surface``) before it asks for anything else. Methods that take ``at`` raise a
BrokerError before anything has changed, or succeed. Numbers of messages that "became visible" are for waking who waits.
Knows nothing of other queues, nor of who waits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from broker.base.errors import BrokerError, OverLimit, PurgeInProgress, ReceiptHandleExpired, Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import WallMillis
from broker.base.limits import PURGE_INTERVAL
from broker.domain.queues.agenda import earlier
from broker.domain.queues.commands import Arrival, ChangeVisibility, Deliveries, Receive, Results, Send, Sent
from broker.domain.queues.deliveries import check_change, never_given, not_in_flight
from broker.domain.queues.keys import SLOT_BITS
from broker.domain.queues.lifetimes import Lifetimes
from broker.domain.queues.message_groups import MessageGroup, MessageGroups
from broker.domain.queues.model import Handle, QueueAttributes, Target
from broker.domain.queues.move_task import MoveTask
from broker.domain.queues.picking import Picking
from broker.domain.queues.returned import Columns, Row, columns_of
from broker.domain.queues.visibility import InFlight

MAX_EXPIRED_AT_ONCE = 2_000
"""Messages of named groups, or with lifetimes, that one step lets expire; the next step comes at once."""

Came = dict[str, tuple[MessageGroup, int]]
"""By name of a message group: how many of its messages are visible again."""


class Queue(ABC):
    __slots__ = (
        "arrived_total",
        "attributes",
        "created_at",
        "deleted_total",
        "duplicates_total",
        "expired_total",
        "groups",
        "id",
        "in_flight",
        "in_flight_limit",
        "lifetimes",
        "modified_at",
        "moved_total",
        "moves",
        "moving",
        "name",
        "named",
        "plain",
        "purged_at",
        "purged_index",
        "received_total",
        "sent_total",
        "suspended_until",
        "target",
    )

    def __init__(
        self, queue: QueueId, name: str, attributes: QueueAttributes, at: WallMillis, in_flight_limit: int
    ) -> None:
        self.id = queue
        self.name = name
        self.attributes = attributes
        self.groups: tuple[GroupId, ...] = ()
        self.target: Target | None = None
        self.created_at = at
        self.modified_at = at
        self.purged_at: WallMillis | None = None
        self.purged_index = 0
        """Log index of the last purge; what was sent before it is gone, wherever it is."""
        self.suspended_until: WallMillis | None = None
        self.in_flight_limit = in_flight_limit
        self.sent_total = 0
        self.received_total = 0
        self.deleted_total = 0
        self.expired_total = 0
        self.moved_total = 0
        self.arrived_total = 0
        self.duplicates_total = 0
        self.moving = 0
        self.moves: list[MoveTask] = []
        """The latest, oldest first."""
        self._empty()

    # --- what the kinds do differently

    @abstractmethod
    def send(self, command: Send, index: int, at: WallMillis) -> tuple[Sent, int]:
        """Also how many of the messages are visible at once."""

    @abstractmethod
    def arrive(self, arrival: Arrival, key: int, at: WallMillis) -> int:
        """One message that was moved here, under ``key``; how many became visible."""

    @abstractmethod
    def _pick(self, picking: Picking, wanted: int) -> None:
        """Take up to so many visible messages."""

    @abstractmethod
    def withdraw_for_move(self, wanted: int) -> list[tuple[MessageGroup, Row]]:
        """Take up to so many visible messages out of the queue, and whose they are."""

    @abstractmethod
    def _surfaced(self, came: Came) -> int:
        """Messages have been given back to these groups, or groups have been freed: how many became visible."""

    @abstractmethod
    def _ripen(self, at: int) -> int:
        """End the delays that are over; how many messages became visible."""

    @abstractmethod
    def _drop_waiting(self, instant: int) -> int:
        """Forget delayed messages sent at or before ``instant`` that are in none of the places of this class."""

    @abstractmethod
    def _remove_waiting(self, key: int) -> bool:
        """Remove a delayed message that is in none of the places of this class."""

    @abstractmethod
    def next_ripening(self) -> int | None:
        """When the next delay ends."""

    @property
    @abstractmethod
    def delayed_messages(self) -> int: ...

    @abstractmethod
    def oldest_delayed(self) -> int | None:
        """When the oldest message was sent that is delayed and in none of the places of this class."""

    @property
    @abstractmethod
    def has_free(self) -> bool:
        """Whether ``withdraw_for_move`` would find anything."""

    @abstractmethod
    def has_visible(self, at: int) -> bool:
        """Also true when something becomes visible by ``at``, though all of that may expire in the same instant."""

    # --- commands

    def receive(self, command: Receive, timeout: int, index: int, at: WallMillis) -> tuple[Deliveries, Picking, int]:
        """Oldest first; ``index`` becomes the receipt. Also what was found dead, and how many became visible.

        Raises OverLimit when nothing can be taken because too much is in flight.
        """
        room = self.in_flight_limit - len(self.in_flight)
        if room <= 0 and self.visible:
            raise OverLimit(
                f"{len(self.in_flight)} messages of queue {self.name} are in flight, the limit is "
                f"{self.in_flight_limit}: delete some first"
            )
        picking = Picking(self.named, index, at, at - self.attributes.retention, self._most_receives(at))
        self._pick(picking, min(command.max_messages, room))
        self.received_total += len(picking.deliveries)
        self.expired_total += picking.expired
        until = WallMillis(at + timeout)
        came: Came = {name: (group, 0) for name, group in picking.shed.items()}
        for batch in picking.batches(until):
            if timeout:
                self.in_flight.add(batch)
            else:
                self._give_back(batch.group, batch.columns({}), came)
        for group, _ in picking.dead:
            self.depart(group)
        return Deliveries(tuple(picking.deliveries), until), picking, self._surfaced(came) if came else 0

    def delete(self, handles: tuple[Handle, ...], index: int) -> tuple[Results, int]:
        """``index``: of the command, which every receipt must precede. Also how many became visible."""
        in_flight = self.in_flight
        holders, release = in_flight.holders, in_flight.release
        refused: list[tuple[int, Refusal]] = []
        freed: Came = {}
        before = len(holders)
        for position, handle in enumerate(handles):
            key = handle.index << SLOT_BITS | handle.slot
            batch = holders.get(key)
            if batch is not None and batch.receipt == handle.receipt:
                release(key, batch)
                if batch.group.name:
                    freed[batch.group.name] = batch.group, 0
            else:
                refusal = self._delete_visible(handle, key, index, batch is not None, freed)
                if refusal is not None:
                    refused.append((position, Refusal.of(refusal)))
        self.deleted_total += before - len(holders)
        return Results(tuple(refused)), self._surfaced(freed) if freed else 0

    def holds(self, handle: Handle) -> bool:
        """Whether a delete by this handle would delete a message."""
        key = handle.index << SLOT_BITS | handle.slot
        batch = self.in_flight.holders.get(key)
        receipt = batch.receipt if batch is not None else self._waiting_receipt(key)
        return handle.receipt > 0 and receipt == handle.receipt

    def change_visibility(self, command: ChangeVisibility, at: WallMillis) -> tuple[Results, int]:
        """Also how many messages became visible. The handles take effect one after the other."""
        refused: list[tuple[int, Refusal]] = []
        came: Came = {}
        for position, (handle, timeout) in enumerate(zip(command.handles, command.timeouts, strict=True)):
            key = handle.index << SLOT_BITS | handle.slot
            batch = self.in_flight.holders.get(key)
            refusal = check_change(handle, batch, timeout, at)
            if refusal is not None or batch is None:
                refused.append((position, Refusal.of(refusal or not_in_flight(handle))))
            elif timeout:
                self.in_flight.extend(key, batch, WallMillis(at + timeout))
            else:
                group = batch.group
                row = self.in_flight.withdraw(key, batch)
                if command.uncounted:
                    key, sent, first, receipt, count = row
                    row = (key, sent, first if count > 1 else 0, receipt, count - 1)
                self._give_back(group, columns_of(row), came)
        self.in_flight.settle()
        return Results(tuple(refused)), self._surfaced(came) if came else 0

    def purge(self, index: int, at: WallMillis) -> None:
        """Raises PurgeInProgress within limits.PURGE_INTERVAL of the last purge."""
        if self.purged_at is not None and at < self.purged_at + PURGE_INTERVAL:
            raise PurgeInProgress(
                f"queue {self.name} was purged {at - self.purged_at} ms ago: wait until {PURGE_INTERVAL} ms have passed"
            )
        self.purged_at, self.purged_index = at, index
        self.deleted_total += self.messages
        self._empty()

    # --- moves

    def depart(self, group: MessageGroup) -> None:
        """One of its messages, taken out already, goes to another queue."""
        group.leaving += 1
        self.moving += 1
        self.moved_total += 1

    def arrived(self, group_name: str, key: int) -> int:
        """A message that left was taken in elsewhere; how many became visible because its group is free now."""
        self.moving -= 1
        group = self._left(group_name, key)
        return 0 if group is None else self._surfaced({group_name: (group, 0)})

    def come_back(self, group_name: str, row: Row, lives_until: int, at: int) -> int:
        """A message that left was refused elsewhere; how many became visible. What was sent before a purge is purged,
        and what has outlived its lifetime (0: it has none of its own) is expired."""
        self.moving -= 1
        self.moved_total -= 1
        group = self._left(group_name, row[0])
        came: Came = {}
        if group is None:
            self.deleted_total += 1
        elif 0 < lives_until <= at:
            self.expired_total += 1
            came[group_name] = group, 0
        else:
            self._give_back(group, columns_of(row), came)
        return self._surfaced(came)

    # --- time

    def surface(self, at: int) -> int:
        """Make visible what is due by ``at``: ended delays and visibility time-outs. How many messages that were."""
        visible = self._ripen(at)
        came: Came = {}
        for columns, group in self.in_flight.end(at):
            self._give_back(group, columns, came)
        return visible + self._surfaced(came) if came else visible

    def expire(self, at: int) -> int:
        """Drop every message, wherever it is, that was sent a retention period before ``at`` or earlier, or whose own
        life is over; how many others became visible thereby. At most MAX_EXPIRED_AT_ONCE of some kinds; the rest is
        due still."""
        instant = at - self.attributes.retention
        dropped = self.plain.fresh.drop_sent_until(instant) + self.plain.returned.drop_sent_until(instant)
        before = len(self.in_flight)
        touched = self.in_flight.drop_sent_until(instant)
        dropped += before - len(self.in_flight)
        dropped += self._drop_waiting(instant)
        if self.named.messages:
            for group, count in self.named.drop_sent_until(instant, MAX_EXPIRED_AT_ONCE):
                touched[group.name] = group
                dropped += count
        for key, owner in self.lifetimes.ended(at):
            group = owner or self.plain
            if self._remove(key, group):
                touched[group.name] = group
                dropped += 1
        self.expired_total += dropped
        touched.pop("", None)
        return self._surfaced({name: (group, 0) for name, group in touched.items()}) if touched else 0

    def next_surfacing(self) -> int | None:
        """When the next delay or visibility time-out ends."""
        return earlier(self.in_flight.next_end(), self.next_ripening())

    def next_expiry(self) -> int | None:
        oldest = self.oldest_sent()
        by_age = None if oldest is None else oldest + self.attributes.retention
        return earlier(by_age, self.lifetimes.next_end())

    # --- questions

    @property
    def visible(self) -> int:
        return self.plain.messages + self.named.messages

    @property
    def messages(self) -> int:
        return self.visible + len(self.in_flight) + self.delayed_messages

    def oldest_sent(self) -> WallMillis | None:
        oldest = self.plain.oldest_sent()
        if self.in_flight.holders:
            oldest = earlier(oldest, self.in_flight.oldest_sent())
        if self.delayed_messages:
            oldest = earlier(oldest, self.oldest_delayed())
        if self.named.messages:
            oldest = earlier(oldest, self.named.oldest_sent())
        return None if oldest is None else WallMillis(oldest)

    def replan(self) -> None:
        """After loading."""
        self.named.reindex()
        self.lifetimes.lanes.replan()

    # --- inside

    def _empty(self) -> None:
        self.plain = MessageGroup("")
        self.named = MessageGroups()
        self.in_flight = InFlight()
        self.lifetimes = Lifetimes()

    def _most_receives(self, at: int) -> int | None:
        redrive = self.attributes.redrive
        if redrive is None or self.target is None or (self.suspended_until is not None and at < self.suspended_until):
            return None
        return redrive.max_receive_count

    def _give_back(self, group: MessageGroup, columns: Columns, came: Came) -> None:
        """Messages that were received before wait again; ``_surfaced`` must follow."""
        if group.name:
            self.named.give_back(group, columns)
        else:
            group.give_back(columns)
        known = came.get(group.name)
        came[group.name] = group, len(columns[0]) + (0 if known is None else known[1])

    def _left(self, group_name: str, key: int) -> MessageGroup | None:
        """A message is on its way no more: whose it was, or None when it was purged meanwhile."""
        if key >> SLOT_BITS < self.purged_index:
            return None
        group = self.named.by_name[group_name] if group_name else self.plain
        group.leaving -= 1
        return group

    def _remove(self, key: int, group: MessageGroup) -> bool:
        """A message of ``group``, wherever it is; False when it is nowhere any more."""
        batch = self.in_flight.holders.get(key)
        if batch is not None:
            self.in_flight.release(key, batch)
            return True
        if group.name:
            if key in self.named.homes:
                self.named.remove_returned(key)
                return True
            return self.named.remove_fresh(group, key) or self._remove_waiting(key)
        if group.returned.receipt_of(key) is not None:
            group.returned.remove(key)
            return True
        return group.fresh.remove(key) is not None or self._remove_waiting(key)

    def _waiting_receipt(self, key: int) -> int | None:
        """Of the last delivery of a message that waits again."""
        group = self.named.homes.get(key, self.plain) if self.named.homes else self.plain
        return group.returned.receipt_of(key)

    def _delete_visible(self, handle: Handle, key: int, index: int, held: bool, freed: Came) -> BrokerError | None:
        """Delete a message whose time-out has ended and that nobody received since. Gone already: nothing to do."""
        if not handle.index < handle.receipt < index:
            return never_given(handle)
        receipt = None if held else self._waiting_receipt(key)
        if held or (receipt is not None and receipt != handle.receipt):
            return ReceiptHandleExpired(
                f"message {handle.index}/{handle.slot} was received again since: use the newest receipt handle"
            )
        if receipt is not None:
            if key in self.named.homes:
                group = self.named.remove_returned(key)
                freed[group.name] = group, 0
            else:
                self.plain.returned.remove(key)
            self.deleted_total += 1
        return None

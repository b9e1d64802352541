"""One standard queue: every message is in one of four places, never received, delayed, in flight or visible again.

At-least-once, roughly in the order of sending, as Amazon SQS describes its standard queues (Developer Guide, "Amazon
SQS standard queues", "Amazon SQS visibility timeout"). Messages with a group are a tenant's, and ``fairness`` says
whose turn it is. A message may wait for an instant of its own, and may have a lifetime of its own.
"""

from __future__ import annotations

from itertools import groupby

from broker.base.instants import WallMillis
from broker.domain.queues.agenda import earlier
from broker.domain.queues.commands import Arrival, Send, Sent
from broker.domain.queues.delayed import Delayed, rounded
from broker.domain.queues.fairness import pick_fairly
from broker.domain.queues.keys import AFTER_ALL, SLOT_BITS
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.picking import Picking
from broker.domain.queues.queue import MAX_EXPIRED_AT_ONCE, Came, Queue
from broker.domain.queues.returned import Row
from broker.domain.queues.scheduled import Scheduled


class StandardQueue(Queue):
    __slots__ = ("_next_number", "_numbered", "delayed", "scheduled")

    # --- commands

    def send(self, command: Send, index: int, at: WallMillis) -> tuple[Sent, int]:
        count, delays = command.count, command.delays
        self.sent_total += count
        key = index << SLOT_BITS
        if command.groups is None and command.due is None and command.lifetimes is None:
            visible = self._send_plain(key, count, delays, at)
        else:
            visible = sum(self._send_one(command, key + slot, slot, at) for slot in range(count))
        return Sent(index, count, at), visible

    def arrive(self, arrival: Arrival, key: int, at: WallMillis) -> int:
        self.arrived_total += 1
        delay = self.attributes.delay
        return self._place(key, at, arrival.group, at + rounded(delay) if delay else 0)

    def cancel(self, key: int) -> bool:
        """Withdraw a message that is not due yet; False when it is due already, or gone."""
        if not self._remove_waiting(key):
            return False
        self.deleted_total += 1
        return True

    def withdraw_for_move(self, wanted: int) -> list[tuple[MessageGroup, Row]]:
        plain, named = self.plain, self.named
        taken: list[tuple[MessageGroup, Row]] = []
        while len(taken) < wanted and self.visible:
            group = named.first(_has_messages)
            key = AFTER_ALL if group is None else group.first_key()
            ahead = plain.first_key()
            if group is None or ahead < key:
                taken += [(plain, row) for row in named.withdraw(plain, wanted - len(taken), key)]
            else:
                below = min(ahead, named.bound_after(key))
                taken += [(group, row) for row in named.withdraw(group, wanted - len(taken), below)]
        return taken

    # --- time and questions

    def next_ripening(self) -> int | None:
        due = self.delayed.next_due()
        return earlier(due, self.scheduled.next_due()) if self.scheduled.messages else due

    @property
    def delayed_messages(self) -> int:
        return self.delayed.messages + self.scheduled.messages

    def oldest_delayed(self) -> int | None:
        return earlier(self.delayed.oldest_sent(), self.scheduled.oldest_sent())

    @property
    def has_free(self) -> bool:
        return self.visible > 0

    def has_visible(self, at: int) -> bool:
        if self.named.messages:
            return True
        horizon = at - self.attributes.retention
        for place in (self.plain.fresh, self.plain.returned):
            newest = place.newest_sent()
            if newest is not None and newest > horizon:
                return True
        due = self.next_surfacing()
        return due is not None and due <= at

    def replan(self) -> None:
        super().replan()
        self.delayed.replan()

    # --- inside

    def _empty(self) -> None:
        super()._empty()
        self.delayed = Delayed()
        self.scheduled = Scheduled()
        self._numbered: dict[int, MessageGroup] = {0: self.plain}
        """Whose the scheduled messages are."""
        self._next_number = 1

    def _send_plain(self, key: int, count: int, delays: tuple[int, ...] | None, at: WallMillis) -> int:
        if delays is None:
            delays_and_counts: list[tuple[int, int]] = [(self.attributes.delay, count)]
        else:
            delays_and_counts = [(delay, len(list(same))) for delay, same in groupby(delays)]
        visible = 0
        for delay, messages in delays_and_counts:
            if delay:
                self.delayed.add(key, messages, at, rounded(delay))
            else:
                self.plain.fresh.append(key, messages, at)
                visible += messages
            key += messages
        return visible

    def _send_one(self, command: Send, key: int, slot: int, at: WallMillis) -> int:
        group = "" if command.groups is None else command.groups[slot]
        due = 0 if command.due is None else command.due[slot]
        if not due:
            delay = self.attributes.delay if command.delays is None else command.delays[slot]
            due = at + rounded(delay) if delay else 0
        visible = self._place(key, at, group, due)
        lifetime = 0 if command.lifetimes is None else command.lifetimes[slot]
        if lifetime:
            home = self.named.by_name[group] if group else self.plain
            self.lifetimes.add(key, at, lifetime, home)
        return visible

    def _place(self, key: int, at: WallMillis, group_name: str, due: int) -> int:
        """A new message, visible at once or at ``due``; how many became visible."""
        group = self.named.open(group_name) if group_name else self.plain
        if due > at:
            self.schedule(key, at, due, group)
            return 0
        if group_name:
            self.named.append(group, key, 1, at)
        else:
            group.fresh.append(key, 1, at)
        return 1

    def schedule(self, key: int, sent: int, due: int, group: MessageGroup) -> None:
        if group.name and not group.number:
            group.number = self._next_number
            self._next_number += 1
            self._numbered[group.number] = group
        group.scheduled += 1
        self.scheduled.add(key, sent, due, group.number)

    def group_of(self, number: int) -> MessageGroup:
        """Whose a scheduled message is."""
        return self._numbered[number]

    def _unschedule(self, number: int) -> MessageGroup:
        """One message of this group waits no more."""
        group = self._numbered[number]
        group.scheduled -= 1
        if not group.scheduled and number:
            del self._numbered[number]
            group.number = 0
        return group

    def _pick(self, picking: Picking, wanted: int) -> None:
        if self.named.messages:
            pick_fairly(picking, wanted, self.plain, self.named, len(self.in_flight))
        else:
            picking.take(self.plain, wanted)

    def _surfaced(self, came: Came) -> int:
        for group, _ in came.values():
            if group.name:
                self.named.close(group)
        return sum(messages for _, messages in came.values())

    def _ripen(self, at: int) -> int:
        visible = self.delayed.ripen(at, self.plain.fresh)
        if self.scheduled.messages:
            ripe = self.scheduled.ripen(at, MAX_EXPIRED_AT_ONCE)
            for key, sent, number in ripe:
                group = self._unschedule(number)
                if sent + self.attributes.retention <= at:  # more expired at once than one step drops
                    self.expired_total += 1
                    self.named.close(group)
                    continue
                if group.name:
                    self.named.insert(group, key, sent)
                else:
                    group.fresh.insert(key, 1, sent)
                visible += 1
        return visible

    def _drop_waiting(self, instant: int) -> int:
        dropped = self.delayed.drop_sent_until(instant)
        if self.scheduled.messages:
            for _, _, number in self.scheduled.drop_sent_until(instant, MAX_EXPIRED_AT_ONCE):
                self.named.close(self._unschedule(number))
                dropped += 1
        return dropped

    def _remove_waiting(self, key: int) -> bool:
        return self.delayed.remove(key) or self._remove_scheduled(key)

    def _remove_scheduled(self, key: int) -> bool:
        row = self.scheduled.remove(key)
        if row is None:
            return False
        group = self._unschedule(row[3])
        if group.name:
            self.named.close(group)
        return True


def _has_messages(group: MessageGroup) -> bool:
    return group.messages > 0

"""What one FIFO queue does, as plainly as it can be said."""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.domain.queues import commands
from broker.domain.queues.commands import Deliveries, Sent
from broker.domain.queues.model import DELAYED, IN_FLIGHT, PER_MESSAGE_GROUP, VISIBLE
from tests.properties.queues.naive_queue import HOURS_12, NaiveMessage, NaiveQueue, Refusing, delivery_of

MINUTES_5 = 5 * 60 * 1000


@dataclass
class NaiveAttempt:
    at: int
    receipt: int
    until: int
    keys: list[int]


@dataclass(eq=False)
class NaiveFifo(NaiveQueue):
    remembered: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """By scope and deduplication id: when it was sent, and its key."""
    attempts: dict[str, NaiveAttempt] = field(default_factory=dict)
    was_ready: set[str] = field(default_factory=set)
    ever_ready: bool = False

    def is_ready(self) -> bool:
        return bool(self.free_groups())

    def due(self, message: NaiveMessage) -> int:
        return message.sent + self.attributes.delay if message.place == DELAYED else message.hidden_until

    # --- waking: at least once for each message group that has become ready, and never for nothing

    def became_visible(self, messages: int) -> None:
        pass

    def note_what_is_ready(self) -> None:
        ready = set(self.free_groups())
        self.woken += len(ready - self.was_ready)
        self.was_ready = ready
        self.ever_ready |= bool(ready)

    def check_woken(self, count: int) -> None:
        assert count >= self.woken
        assert self.ever_ready or not count

    # --- sending

    def send(self, command: commands.Send, index: int, at: int) -> Sent:
        if command.delays is not None or command.due is not None:
            raise Refusing("NotForFifo")
        if command.groups is None or not all(command.groups):
            raise Refusing("MessageGroupRequired")
        if command.deduplication is None or not all(command.deduplication):
            raise Refusing("DeduplicationIdRequired")
        duplicates = []
        for slot in range(command.count):
            per_group = self.attributes.deduplication_scope == PER_MESSAGE_GROUP
            identity = command.groups[slot] if per_group else "", command.deduplication[slot]
            known = self.remembered.get(identity)
            if known is not None and at < known[0] + MINUTES_5:
                duplicates.append((slot, known[1]))
            else:
                message = self.new_message(command, index, slot, at, at + self.attributes.delay)
                self.remembered[identity] = at, message.key
                self.sent += 1
        self.duplicates += len(duplicates)
        return Sent(index, command.count, at, tuple(duplicates))

    def arrive(self, arrival: commands.Arrival, index: int, slot: int, at: int) -> None:
        if not arrival.group:
            raise Refusing("MessageGroupRequired")
        self.put(index, slot, at, arrival.group, at + self.attributes.delay)
        self.arrived += 1

    # --- receiving

    def receive(self, command: commands.Receive, index: int, at: int) -> tuple[Deliveries, list[NaiveMessage]]:
        if not command.attempt:
            return super().receive(command, index, at)
        timeout = command.visibility_timeout
        if timeout is None:
            timeout = self.attributes.visibility_timeout
        if timeout and self.would_repeat(command.attempt, at):
            return self._again(self.attempts[command.attempt], timeout, at), []
        deliveries, dead = super().receive(command, index, at)
        if deliveries.deliveries:
            keys = [each.index << 16 | each.slot for each in deliveries.deliveries]
            self.attempts[command.attempt] = NaiveAttempt(at, index, deliveries.until, keys)
        return deliveries, dead

    def would_repeat(self, attempt: str, at: int) -> bool:
        """Within five minutes, and as long as that attempt holds all of them for as long as it set."""
        known = self.attempts.get(attempt)
        if known is None or at >= known.at + MINUTES_5:
            return False
        messages = [self.find(key) for key in known.keys]
        return all(
            message is not None
            and message.place == IN_FLIGHT
            and (message.receipt, message.hidden_until) == (known.receipt, known.until)
            for message in messages
        )

    def _again(self, attempt: NaiveAttempt, timeout: int, at: int) -> Deliveries:
        messages = [message for key in attempt.keys if (message := self.find(key)) is not None]
        attempt.until = min(at + timeout, messages[0].received + HOURS_12)
        for message in messages:
            message.hidden_until = attempt.until
        return Deliveries(tuple(map(delivery_of, messages)), attempt.until)

    def pick(self, wanted: int, most: int) -> tuple[list[NaiveMessage], list[NaiveMessage]]:
        """Group by group, up to a dead letter; one that comes first leaves, and its group waits for it."""
        taken: list[NaiveMessage] = []
        dead: list[NaiveMessage] = []
        for group in self.free_groups():
            waiting = self.visible_of(group)
            if len(taken) == wanted:
                break
            if waiting[0].count >= most:
                dead.append(waiting[0])
                continue
            for message in waiting:
                if len(taken) == wanted or message.count >= most:
                    break
                taken.append(message)
        return taken, dead

    def visible_of(self, group: str) -> list[NaiveMessage]:
        return [message for message in self.at_place(VISIBLE) if message.group == group]

    def free_groups(self) -> list[str]:
        """That have a visible message and none in flight or on its way elsewhere, the oldest message first."""
        blocked = {message.group for message in self.at_place(IN_FLIGHT) + self.away}
        return [group for group in dict.fromkeys(m.group for m in self.at_place(VISIBLE)) if group not in blocked]

    def may_leave(self) -> list[NaiveMessage]:
        return [message for group in self.free_groups() for message in self.visible_of(group)]

"""The naive picture of one queue: a dict of messages, each of which knows when it is visible and who held it last.

Whatever is asked is answered by looking through all of them. Times are machine time in milliseconds.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Refusal
from broker.domain.queues import model

Key = tuple[int, int]
"""Log index of the entry that brought the message, and slot."""

DELETED, PURGED, EXPIRED, CANCELLED, MOVED = "deleted", "purged", "expired", "cancelled", "moved"
DOUBLED = "come before"
"""What becomes of messages."""


class Held(msgspec.Struct):
    """One message. ``receipt`` 0: never received; ``due``: the instant it was told to wait for, 0 for none;
    ``lifetime`` 0: the queue's retention."""

    key: Key
    sent_at: int
    visible_at: int
    group: str = ""
    deduplication: str = ""
    due: int = 0
    lifetime: int = 0
    receipt: int = 0
    receive_count: int = 0
    first_received_at: int = 0

    def state(self, now: int) -> str:
        if self.visible_at <= now:
            return model.VISIBLE
        return model.IN_FLIGHT if self.receipt else model.DELAYED


class Task(msgspec.Struct):
    """A move task. ``refused``: one of its messages came back; ``outstanding`` are not answered for."""

    id: int
    destination: model.Target | None
    rate: int
    started_at: int
    taken: int = 0
    moved: int = 0
    outstanding: int = 0
    cancelled: bool = False
    refused: bool = False

    @property
    def running(self) -> bool:
        """As far as can be told from outside: it may have found nothing more."""
        return not self.cancelled and not self.refused


class Departed(msgspec.Struct):
    """A message in the outbox. ``task`` 0: a dead letter. ``forgotten``: its queue was purged since."""

    number: int
    queue: int
    held: Held
    task: int
    forgotten: bool = False


class ModelQueue(msgspec.Struct):
    """One stripe, if the queue is spread: in every group it is a queue of its own."""

    group: int
    id: int
    name: str
    attributes: model.QueueAttributes
    target: model.Target | None = None
    suspended_until: int = 0
    messages: dict[Key, Held] = msgspec.field(default_factory=dict)
    fates: dict[Key, str] = msgspec.field(default_factory=dict)
    """Of those that are not here any more."""
    leaving: dict[int, Departed] = msgspec.field(default_factory=dict)
    """By number."""
    tasks: dict[int, Task] = msgspec.field(default_factory=dict)
    sent: int = 0
    received: int = 0
    deleted: int = 0
    expired: int = 0
    moved: int = 0
    arrived: int = 0
    duplicates: int = 0
    expires_from: int = 0
    """Nothing expires before."""

    @property
    def identity(self) -> tuple[int, int]:
        """Group and queue."""
        return self.group, self.id

    @property
    def is_fifo(self) -> bool:
        return model.is_fifo(self.name)

    # --- changes

    def add(self, held: Held) -> None:
        self.messages[held.key] = held
        self.expires_from = min(self.expires_from, self.end_of_life(held))

    def remove(self, key: Key, fate: str) -> Held:
        self.fates[key] = fate
        return self.messages.pop(key)

    def expire(self, now: int) -> int:
        """How many messages that were."""
        if now < self.expires_from:
            return 0
        over = [held.key for held in self.messages.values() if self.end_of_life(held) <= now]
        for key in over:
            self.remove(key, EXPIRED)
        self.expired += len(over)
        self.expires_from = min(map(self.end_of_life, self.messages.values()), default=1 << 62)
        return len(over)

    def come_back(self, departed: Departed, refusal: Refusal, dead_until: int, now: int) -> None:
        """``dead_until``: no dead letter leaves before, if this was one."""
        held = departed.held
        self.moved -= 1
        if departed.forgotten:
            self.deleted += 1
            self.fates[held.key] = PURGED
        elif held.lifetime and held.sent_at + held.lifetime <= now:
            self.expired += 1
            self.fates[held.key] = EXPIRED
        else:
            held.visible_at = min(held.visible_at, now)
            del self.fates[held.key]
            self.add(held)
        task = self.tasks.get(departed.task)
        if task is not None:
            task.outstanding -= 1
            task.refused = True
        elif not departed.task:
            self.suspended_until = dead_until

    # --- questions

    def end_of_life(self, held: Held) -> int:
        retention = self.attributes.retention
        return held.sent_at + (min(held.lifetime, retention) if held.lifetime else retention)

    def visible(self, now: int) -> list[Held]:
        """In the order of their keys."""
        return sorted((held for held in self.messages.values() if held.visible_at <= now), key=_key)

    def in_flight(self, now: int) -> list[Held]:
        return [held for held in self.messages.values() if held.receipt and held.visible_at > now]

    def redrives(self, now: int) -> bool:
        """Whether dead letters leave."""
        return self.attributes.redrive is not None and self.target is not None and now >= self.suspended_until

    def is_dead(self, held: Held, now: int) -> bool:
        redrive = self.attributes.redrive
        return redrive is not None and self.redrives(now) and held.receive_count >= redrive.max_receive_count

    def blocked(self, now: int) -> set[str]:
        """Message groups of which something is in flight or on its way out."""
        groups = {held.group for held in self.in_flight(now)}
        return groups | {departed.held.group for departed in self.leaving.values() if not departed.forgotten}

    def by_group(self) -> dict[str, list[Held]]:
        """All that waits, is delayed or in flight; in the order of their keys."""
        groups: dict[str, list[Held]] = {}
        for held in sorted(self.messages.values(), key=_key):
            groups.setdefault(held.group, []).append(held)
        return groups

    def offered(self, now: int) -> list[Held]:
        """What a receive without a limit hands out."""
        if not self.is_fifo:
            return [held for held in self.visible(now) if not self.is_dead(held, now)]
        offered: list[Held] = []
        blocked = self.blocked(now)
        for group, messages in self.by_group().items():
            if group in blocked:
                continue
            for held in messages:
                if held.visible_at > now or self.is_dead(held, now):
                    break
                offered.append(held)
        return offered

    def doomed(self, now: int) -> list[Held]:
        """Dead letters that leave at a receive without a limit."""
        if not self.redrives(now):
            return []
        if not self.is_fifo:
            return [held for held in self.visible(now) if self.is_dead(held, now)]
        blocked = self.blocked(now)
        heads = [messages[0] for group, messages in self.by_group().items() if group not in blocked]
        return [held for held in heads if held.visible_at <= now and self.is_dead(held, now)]


def _key(held: Held) -> Key:
    return held.key

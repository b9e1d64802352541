"""How much clients do, and of what: drawn from the seed. No seed does everything, so that each does some of it well."""

from __future__ import annotations

from random import Random

import msgspec

from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.base.limits import MIN_MESSAGE_SIZE_LIMIT, MIN_RETENTION
from broker.domain.queues import model
from tests.simulation.world import MILLISECOND

PURGED = "purged"
"""Queues whose names begin so are purged now and then."""


class Load(msgspec.Struct, frozen=True):
    """``think`` is the mean pause between two requests of one story, in microseconds."""

    queues: int = 3
    producers: int = 3
    consumers: int = 3
    counters: int = 2
    think: int = 250 * MILLISECOND
    batch: int = 8
    padding: int = 400
    """Largest number of bytes added to a body."""
    visibility: int = 1_500
    """Milliseconds."""
    fifo: bool = False
    tenants: bool = False
    schedules: bool = False
    lifetimes: bool = False
    dead_letters: bool = False
    moves: bool = False
    exchanges: bool = False
    replacing: bool = False
    """A dead-letter queue is deleted, and made again under its name."""
    updates: bool = False
    registrars: int = 0
    moving: bool = False
    """Replicas are moved on request."""
    draining: bool = False
    growing: bool = False
    """A data group is added."""
    leaps: bool = False
    """Clocks will go on by minutes at once."""


def draw(chance: Random, leaps: bool) -> Load:
    return Load(
        queues=chance.choice((1, 2, 4)),
        producers=chance.choice((1, 2, 4)),
        consumers=chance.choice((2, 3, 5)),
        counters=chance.choice((1, 3)),
        think=chance.choice((100, 200, 500)) * MILLISECOND,
        batch=chance.choice((1, 4, 10)),
        padding=chance.choice((0, 200, 3_000)),
        visibility=chance.choice((300, 1_500, 4_000)),
        fifo=chance.random() < 0.5,
        tenants=chance.random() < 0.25,
        schedules=chance.random() < 0.3,
        lifetimes=chance.random() < 0.25,
        dead_letters=chance.random() < 0.5,
        moves=chance.random() < 0.6,
        exchanges=chance.random() < 0.25,
        replacing=chance.random() < 0.2,
        updates=chance.random() < 0.25,
        registrars=chance.choice((0, 2, 4)),
        moving=chance.random() < 0.6,
        draining=chance.random() < 0.4,
        growing=chance.random() < 0.3,
        leaps=leaps,
    )


class QueuePlan(msgspec.Struct):
    """A queue to be made. ``source``: it is the dead-letter queue of that one; ``beside``: it lives where that one
    does."""

    name: str
    attributes: model.QueueAttributes
    source: str = ""
    beside: str = ""
    tenants: bool = False
    small: bool = False
    """Not every message fits into it."""
    stripes: int = 1

    @property
    def is_fifo(self) -> bool:
        return model.is_fifo(self.name)

    @property
    def loses(self) -> bool:
        """Messages may be gone before anybody has seen them."""
        return self.name.startswith(PURGED) or self.attributes.retention == MIN_RETENTION


class OpenQueue(msgspec.Struct):
    """A stripe of a queue that was made: the one in ``group``, of those in ``groups``, home first."""

    plan: QueuePlan
    id: QueueId
    group: GroupId
    groups: tuple[GroupId, ...]

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def target(self) -> model.Target:
        return model.Target(self.name, self.id, self.groups)

    @property
    def poisoned(self) -> bool:
        """Some of its messages are never deleted, until all is drained."""
        return self.plan.attributes.redrive is not None


def plan_queues(load: Load, chance: Random) -> list[QueuePlan]:
    """Dead-letter queues before their sources."""
    plans = [
        QueuePlan(f"{PURGED if number == 3 else 'queue'}-{number}", _attributes(load)) for number in range(load.queues)
    ]
    if load.tenants:
        plans[-1] = QueuePlan(f"tenants-{len(plans) - 1}", _attributes(load), tenants=True)
    if load.fifo:
        plans[0] = QueuePlan(f"{chance.choice(('orders', 'orders', PURGED))}-0.fifo", _fifo_attributes(load, chance))
    if load.leaps:
        short = chance.choice(plans)
        short.attributes = msgspec.structs.replace(short.attributes, retention=MIN_RETENTION)
    if not load.dead_letters:
        return plans
    source = plans[0] if load.fifo else chance.choice(plans)
    small = chance.random() < 0.25 and load.padding > MIN_MESSAGE_SIZE_LIMIT
    dead = QueuePlan("dead" + (model.FIFO_SUFFIX if source.is_fifo else ""), _attributes(load), source.name)
    if small:
        dead.small = True
        dead.attributes = msgspec.structs.replace(dead.attributes, message_size_limit=MIN_MESSAGE_SIZE_LIMIT)
    redrive = model.RedrivePolicy(dead.name, chance.choice((1, 2, 3)))
    source.attributes = msgspec.structs.replace(source.attributes, redrive=redrive)
    source.beside = dead.name if chance.random() < 0.3 else ""
    dead.stripes, source.stripes = chance.choice(((1, 1), (1, 1), (2, 1), (1, 2), (2, 2)))
    return [dead, *plans]


def _attributes(load: Load) -> model.QueueAttributes:
    return model.QueueAttributes(visibility_timeout=Millis(load.visibility))


def _fifo_attributes(load: Load, chance: Random) -> model.QueueAttributes:
    return msgspec.structs.replace(
        _attributes(load),
        delay=Millis(chance.choice((0, 0, 500))),
        content_deduplication=chance.random() < 0.5,
        deduplication_scope=chance.choice((model.PER_QUEUE, model.PER_MESSAGE_GROUP)),
    )

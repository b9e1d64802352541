"""The node's own numbers for Prometheus: read from where they are kept, when somebody asks.

Queues are told by the node that leads their group, so that a sum over all nodes counts each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.base.ids import DIRECTORY_GROUP
from broker.base.instants import SECOND
from broker.domain.queues.model import Counts
from broker.domain.queues.questions import AllQueues
from broker.node.replicas import Replicas
from broker.replication.groups import Groups
from broker.services.striping import added
from broker.storage.damage import KINDS
from broker.telemetry.metrics import Reading, Registry

_GROUP_GAUGES = {
    "term": "Raft term.",
    "commit": "Highest log index known to be on a quorum of disks.",
    "applied": "Highest log index that the machine has applied.",
    "last": "Last index in the log.",
    "snapshot": "Index that the newest snapshot covers.",
}


def register(registry: Registry, replicas: Replicas) -> None:
    _register_groups(registry, replicas)
    _register_queues(registry, replicas.groups)
    _register_node(registry, replicas)


def _register_groups(registry: Registry, replicas: Replicas) -> None:
    groups = replicas.groups

    def field(name: str) -> Callable[[], Reading]:
        return lambda: [((str(status.group),), getattr(status, name)) for status in groups.status()]

    for name, description in _GROUP_GAUGES.items():
        registry.gauges(f"broker_group_{name}", description, ("group",), field(name))
    registry.gauges(
        "broker_group_leads",
        "1 where this node leads the group.",
        ("group",),
        lambda: [((str(status.group),), float(status.leader == groups.me)) for status in groups.status()],
    )
    registry.gauges(
        "broker_group_has_leader",
        "1 where a leader of the group is known.",
        ("group",),
        lambda: [((str(status.group),), float(status.leader is not None)) for status in groups.status()],
    )
    registry.gauges(
        "broker_replication_lag_entries",
        "Entries that a replica's disk is behind the leader's log; told by the leader.",
        ("group", "replica"),
        lambda: [
            ((str(status.group), replica.node), status.last - replica.matched)
            for status in groups.status()
            for replica in status.replicas
        ],
    )


class QueueReadings:
    """The numbers of all queues led here, gathered once for all names under which they are told. There may be many
    thousands: others run between one group and the next. Of a queue that is spread, the stripes led here count."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._counts: dict[str, Counts] = {}

    async def gather(self) -> None:
        gathered: dict[str, Counts] = {}
        for group in [status.group for status in self._groups.status() if status.group != DIRECTORY_GROUP]:
            if self._groups.leads(group):
                for queue, counts in self._groups.peek(group, "queues", AllQueues()):
                    known = gathered.get(queue.name)
                    gathered[queue.name] = counts if known is None else added(known, counts)
                await asyncio.sleep(0)
        self._counts = gathered

    def messages(self) -> Reading:
        for name, counts in self._counts.items():
            yield (name, "visible"), counts.visible
            yield (name, "in_flight"), counts.in_flight
            yield (name, "delayed"), counts.delayed

    def oldest(self) -> Reading:
        now = self._groups.clock.wall()
        for name, counts in self._counts.items():
            age = 0 if counts.oldest_sent_at is None else max(0, now - counts.oldest_sent_at)
            yield (name,), age / SECOND

    def total(self, field: str) -> Callable[[], Reading]:
        return lambda: [((name,), getattr(counts, field)) for name, counts in self._counts.items()]


def _register_queues(registry: Registry, groups: Groups) -> None:
    queues = QueueReadings(groups)
    registry.before_reading(queues.gather)
    registry.gauges("broker_queue_messages", "Messages in a queue, by state.", ("queue", "state"), queues.messages)
    registry.gauges(
        "broker_queue_oldest_age_seconds", "Age of the oldest message not deleted.", ("queue",), queues.oldest
    )
    for name in ("sent", "received", "deleted", "expired"):
        registry.counters(f"broker_queue_{name}", f"Messages {name}.", ("queue",), queues.total(f"{name}_total"))


def _register_node(registry: Registry, replicas: Replicas) -> None:
    engine, store = replicas.engine, replicas.store

    def storage() -> Reading:
        stats = store.stats()
        for microseconds in stats.sync_microseconds:
            synced.observe(microseconds)
        yield ("log",), stats.total_bytes
        yield ("live",), stats.live_bytes
        yield ("cache",), stats.cached_bytes
        yield ("free",), stats.free_disk_bytes

    def engine_counts() -> Reading:
        for name in engine.counts.__struct_fields__:
            yield (name,), getattr(engine.counts, name)
        yield ("snapshots_written",), engine.snapshots.written
        yield ("snapshots_sent",), engine.snapshots.sent
        yield ("snapshots_received",), engine.snapshots.received

    registry.gauges(
        "broker_storage_bytes", "Bytes of the write-ahead log, by kind, and free on its disk.", ("kind",), storage
    )
    registry.counters(
        "broker_storage_damage",
        "Pieces of damaged data found since the start, by kind.",
        ("kind",),
        lambda: [((kind,), store.damage_counts.get(kind, 0)) for kind in KINDS],
    )
    registry.gauges(
        "broker_storage_damaged_groups",
        "Groups of which the replica here is damaged and not replaced yet.",
        (),
        lambda: [((), len(store.damaged))],
    )
    registry.gauges(
        "broker_disk_state",
        "1 where the disk is slow, full (below its reserve) or stuck (no room for the log).",
        ("state",),
        lambda: [((state,), float(holds)) for state, holds in engine.disk.states.items()],
    )
    # Registered after the reading that feeds it: they are read in this order.
    synced = registry.histogram("broker_fsync_seconds", "Time of a sync of the write-ahead log.")
    registry.counters("broker_engine", "What the replication engine has done, by kind.", ("kind",), engine_counts)
    registry.counters(
        "broker_elections_won", "Elections won by this node.", (), lambda: [((), engine.counts.elections_won)]
    )
    registry.gauges("broker_waiting_receives", "Long polls that wait here.", (), lambda: [((), len(engine.room))])
    registry.gauges(
        "broker_clock_error_seconds",
        "How far this node's wall clock is ahead of the cluster's time.",
        (),
        lambda: [((), engine.clock.error / SECOND)],
    )
    registry.gauges(
        "broker_peers_connected", "Peers with a live connection.", (), lambda: [((), len(engine.connected()))]
    )

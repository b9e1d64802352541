"""The node's own numbers for Prometheus: read from where they are kept, when somebody asks.

Queues are told by the node that leads their group, so that a sum over all nodes counts each once.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.base.ids import DIRECTORY_GROUP
from broker.domain.queues.model import Counts, Described
from broker.domain.queues.questions import AllQueues
from broker.node.replicas import Replicas
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
    _register_queues(registry, replicas)
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


def _register_queues(registry: Registry, replicas: Replicas) -> None:
    def described() -> list[tuple[Described, Counts]]:
        groups = replicas.groups
        led = [group for group in replicas.core.replicas if group != DIRECTORY_GROUP and groups.leads(group)]
        return [pair for group in led for pair in groups.peek(group, "queues", AllQueues())]

    def messages() -> Reading:
        for queue, counts in described():
            yield (queue.name, "visible"), counts.visible
            yield (queue.name, "in_flight"), counts.in_flight
            yield (queue.name, "delayed"), counts.delayed

    def oldest() -> Reading:
        now = replicas.groups.clock.wall()
        for queue, counts in described():
            age = 0 if counts.oldest_sent_at is None else max(0, now - counts.oldest_sent_at)
            yield (queue.name,), age / 1000

    def total(name: str) -> Callable[[], Reading]:
        return lambda: [((queue.name,), getattr(counts, name)) for queue, counts in described()]

    registry.gauges("broker_queue_messages", "Messages in a queue, by state.", ("queue", "state"), messages)
    registry.gauges("broker_queue_oldest_age_seconds", "Age of the oldest message not deleted.", ("queue",), oldest)
    for name in ("sent", "received", "deleted", "expired"):
        registry.counters(f"broker_queue_{name}", f"Messages {name}.", ("queue",), total(f"{name}_total"))


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
    # Registered after the reading that feeds it: they are read in this order.
    synced = registry.histogram("broker_fsync_seconds", "Time of a sync of the write-ahead log.")
    registry.counters("broker_engine", "What the replication engine has done, by kind.", ("kind",), engine_counts)
    registry.counters(
        "broker_elections_won", "Elections won by this node.", (), lambda: [((), engine.counts.elections_won)]
    )
    registry.gauges("broker_waiting_receives", "Long polls that wait here.", (), lambda: [((), len(engine.room))])
    registry.gauges(
        "broker_peers_connected", "Peers with a live connection.", (), lambda: [((), len(engine.connected()))]
    )

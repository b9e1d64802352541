"""Data directories made of a backup: the same on every founder, with everything, and for the new cluster's nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from broker.base.errors import DataCorrupt, InvalidArgument
from broker.base.ids import GroupId, Index, NodeId, QueueId
from broker.base.instants import Instant, Millis, WallMillis
from broker.cli.fetching import Fetching, Watcher
from broker.client.backup import CapturedCluster, CapturedGroup, CapturedPart
from broker.domain.directory.commands import ListResources, RetireGroup, Topology
from broker.domain.identity.commands import FindAccessKey, ListAccessKeys
from broker.domain.queues.commands import CreateQueue, Send
from broker.domain.queues.model import STATES, Message, QueueAttributes
from broker.domain.queues.questions import AllQueues, Browse
from broker.machine import holding
from broker.node.backup_check import check
from broker.node.replicas import founding_topology, machine_of
from broker.node.restoring import INDEX_GAP, Restored, restore
from broker.node.settings import NodeSettings, PeerSettings
from broker.raft.types import RaftConfig
from broker.replication.node_core import NodeCore
from broker.replication.replica import Replica, ReplicaSettings
from broker.replication.transfer import ENTRIES
from broker.services.administering import AttributeChanges
from broker.services.backup import BackupService
from broker.services.outgoing import pack_bodies
from broker.storage.backup_files import MANIFEST
from broker.storage.disk import SystemDisk
from broker.storage.store import StorageSettings, Store
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started

GROUPS = 3
GROUPS_OF_DATA = [GroupId(1), GroupId(2), GroupId(3)]
BODIES = [b"one book", b"two pens", b"three hats"]


class ByCalls:
    """Source of a backup: the service, without a connection between."""

    def __init__(self, service: BackupService, cluster: FakeCluster) -> None:
        self._service = service
        self._cluster = cluster
        self.leave_out: Callable[[bytes], bool] = lambda _: False

    async def begin_backup(self) -> CapturedCluster:
        found = await self._service.begin(soon(self._cluster))
        groups = tuple(CapturedGroup(each.group, each.index, each.sources) for each in found.groups)
        return CapturedCluster(found.backup, found.cluster, found.at / 1000, groups)

    async def read_captured(self, backup: bytes, group: int, source: str, part: int) -> CapturedPart:
        found = await self._service.read(NodeId(source), GroupId(group), backup, part)
        pieces = tuple(piece for piece in found.pieces if not self.leave_out(piece))
        return CapturedPart(found.mark.index, found.mark.term, pieces, found.last)

    async def keep_captured(self, backup: bytes, groups: list[int]) -> None:
        await self._service.keep(backup, [GroupId(group) for group in groups])


async def backed_up(place: Path, leave_out: Callable[[bytes], bool] = lambda _: False) -> FakeCluster:
    """A cluster of one node with a queue over two groups and messages in it, one of them in flight."""
    cluster = FakeCluster(groups=GROUPS)
    services = (await started(cluster))["a-0"]
    await services.queues.create("orders", AttributeChanges(stripes=2), soon(cluster))
    for body in BODIES:
        await services.queues.send("orders", pack_bodies([body]), soon(cluster))
    await services.queues.receive("orders", 1, soon(cluster))
    await services.access_keys.create("123456789012", "alice", soon(cluster))
    source = ByCalls(services.backup, cluster)
    source.leave_out = leave_out
    await fetched(source, place)
    return cluster


async def fetched(source: ByCalls, place: Path) -> None:
    await Fetching(source, SystemDisk(place), Watcher()).run()


def founders(place: Path, nodes: int = 3, groups: int = GROUPS) -> list[NodeSettings]:
    names = [f"{zone}-{number}" for number in range(nodes) for zone in "xyz"][:nodes]
    peers = tuple(
        PeerSettings(name, name[0], f"10.0.0.{number}:4101", f"10.0.0.{number}:4001")
        for number, name in enumerate(names)
    )
    return [
        NodeSettings(
            peer.id, peer.zone, cluster="new", data_dir=str(place / peer.id), groups=groups, peers=peers,
            segment_bytes=1 << 20,
        )
        for peer in peers
    ]  # fmt: skip


def names_in(settings: NodeSettings) -> list[str] | None:
    """Of the data directory; None when it is not there."""
    place = Path(settings.data_dir)
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else None


class Opened:
    """A restored directory, as its node would open it."""

    def __init__(self, settings: NodeSettings) -> None:
        storage = StorageSettings(segment_bytes=1 << 20)
        disk = SystemDisk(settings.data_dir)
        self.store = Store(disk, storage, node=NodeId(settings.node), cluster=settings.cluster)
        core = NodeCore(NodeId(settings.node), self.store, machine_of, RaftConfig(), ReplicaSettings(), Random(1))
        for group in self.store.groups():
            core.open_group(group, (), Instant(Millis(0), WallMillis(0)))
        self.replicas: dict[GroupId, Replica] = core.replicas

    def dumps(self) -> dict[GroupId, list[bytes]]:
        return {group: list(replica.machine.dump()) for group, replica in self.replicas.items()}


async def test_every_founder_gets_the_same_and_all_of_it(tmp_path: Path) -> None:
    old = await backed_up(tmp_path / "backup")
    settings = founders(tmp_path)
    for each in settings:
        done = restore(tmp_path / "backup", each)
        assert done == Restored("new", "2023-11-14T22:13:21.000Z", (GroupId(0), *map(GroupId, (1, 2, 3))), 3)
        assert names_in(each) == ["lock", "manifest", "snapshots", "wal"]
    opened = [Opened(each) for each in settings]
    assert opened[0].dumps() == opened[1].dumps() == opened[2].dumps()
    for group, replica in opened[0].replicas.items():
        before = old.machines[group]
        assert replica.raft.membership.voters == ("x-0", "y-0", "z-0")
        assert replica.applied - INDEX_GAP in range(before.applied_index)
        assert replica.raft.term == 1
        assert replica.machine.query(holding.ROOM, None, before.now) is None
        if group:
            assert replica.machine.query("queues", AllQueues(), before.now) == before.query(
                "queues", AllQueues(), before.now
            )


async def test_messages_are_read_from_the_new_directory(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    (settings,) = founders(tmp_path, nodes=1)
    restore(tmp_path / "backup", settings)
    opened = Opened(settings)
    (queue,) = opened.replicas[GroupId(0)].machine.query("directory", ListResources("queue"), WallMillis(0)).resources
    found = []
    for group in queue.groups:
        page = opened.replicas[group].machine.query("queues", Browse(queue.id, STATES), WallMillis(0))
        for each in page.messages:
            entry = opened.store.read_one(group, Index(each.index))
            assert entry is not None
            found += [body for body in BODIES if body in entry.data]
    assert sorted(found) == sorted(BODIES)


async def test_the_directory_knows_the_nodes_of_the_new_cluster_and_no_others(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    settings = founders(tmp_path, nodes=6)
    for each in settings:
        restore(tmp_path / "backup", each)
    founding = founding_topology(settings[0])
    holders = [each for each in settings if NodeId(each.node) in founding.groups[0].replicas]
    assert len(holders) == 3
    for each in holders:
        machine = Opened(each).replicas[GroupId(0)].machine
        known = machine.query("directory", Topology(), WallMillis(0))
        assert (set(known.nodes), known.groups) == (set(founding.nodes), founding.groups)


async def test_access_keys_hold_in_the_new_cluster(tmp_path: Path) -> None:
    cluster = await backed_up(tmp_path / "backup")
    [settings, *_] = founders(tmp_path)
    restore(tmp_path / "backup", settings)
    new = Opened(settings).replicas[GroupId(0)].machine
    [found] = new.query("identity", ListAccessKeys(), new.now).keys
    assert (found.account, found.user, found.active) == ("123456789012", "alice", True)
    old = cluster.machines[GroupId(0)]
    assert new.query("identity", FindAccessKey(found.id), new.now) == old.query(
        "identity", FindAccessKey(found.id), old.now
    )


async def test_a_queue_that_the_directory_does_not_know_is_left_out(tmp_path: Path) -> None:
    # given a queue in group 3 that a creation has left there which was given up
    cluster = FakeCluster(groups=GROUPS)
    services = (await started(cluster))["a-0"]
    await services.queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.apply_command(GroupId(3), "queues", CreateQueue(QueueId(99), "left", QueueAttributes()))
    sent = msgspec.Raw(msgspec.msgpack.encode([Message(b"one book")]))
    cluster.apply_command(GroupId(3), "queues", Send(QueueId(99), 1, 8, None, sent))
    await fetched(ByCalls(services.backup, cluster), tmp_path / "backup")
    # when the backup is restored
    (settings,) = founders(tmp_path, nodes=1)
    restore(tmp_path / "backup", settings)
    # then it is gone, and the others are there
    replicas = Opened(settings).replicas
    found = [
        queue.name
        for group in GROUPS_OF_DATA
        for queue, _ in replicas[group].machine.query("queues", AllQueues(), WallMillis(0))
    ]
    assert found == ["orders"]


async def test_groups_keep_their_numbers_though_one_between_them_was_given_up(tmp_path: Path) -> None:
    # given a cluster that gave group 4 up while it was being formed, and formed group 5 in its place
    cluster = FakeCluster(groups=GROUPS)
    services = (await started(cluster))["a-0"]
    await services.membership.add_groups(1, soon(cluster))
    cluster.apply_command(GroupId(0), "directory", RetireGroup(GroupId(4), NodeId("a-0")))
    while await services.healer.look():
        cluster.clock.advance(1_000)
    await services.controller.round()
    await services.queues.create("orders", AttributeChanges(stripes=4), soon(cluster))
    assert await services.queues.send("orders", pack_bodies(BODIES), soon(cluster))
    await fetched(ByCalls(services.backup, cluster), tmp_path / "backup")
    # when it is restored
    check(tmp_path / "backup")
    settings = founders(tmp_path, groups=GROUPS + 1)
    done = [restore(tmp_path / "backup", each) for each in settings]
    # then the new cluster has the same groups, where the directory says that the queue is
    assert {each.groups for each in done} == {tuple(map(GroupId, (0, 1, 2, 3, 5)))}
    replicas = Opened(settings[0]).replicas
    known = replicas[GroupId(0)].machine.query("directory", Topology(), WallMillis(0))
    assert [group.id for group in known.groups] == [0, 1, 2, 3, 5]
    [queue] = replicas[GroupId(0)].machine.query("directory", ListResources("queue"), WallMillis(0)).resources
    assert set(queue.groups) == {1, 2, 3, 5}
    for group in queue.groups:
        assert [each.name for each, _ in replicas[group].machine.query("queues", AllQueues(), WallMillis(0))] == [
            "orders"
        ]


async def test_another_number_of_groups_is_refused(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    (settings,) = founders(tmp_path, nodes=1, groups=5)
    with pytest.raises(
        InvalidArgument, match=r"the backup has 3 data groups, .* a cluster of 5: set groups = 3 on every"
    ):
        restore(tmp_path / "backup", settings)
    assert names_in(settings) is None


async def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    (settings,) = founders(tmp_path, nodes=1)
    place = Path(settings.data_dir)
    (place / "wal").mkdir(parents=True)
    with pytest.raises(
        InvalidArgument, match=r"the data directory .* is not empty \(wal\): a backup is restored into an"
    ):
        restore(tmp_path / "backup", settings)
    assert names_in(settings) == ["wal"]
    (place / "wal").rmdir()
    (place / "lost+found").mkdir()
    (place / "restoring" / "wal").mkdir(parents=True)
    assert restore(tmp_path / "backup", settings).cluster == "new"
    assert not (place / "restoring").exists()


async def test_of_a_damaged_backup_nothing_is_made(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    path = tmp_path / "backup" / "group-0002.backup"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (settings,) = founders(tmp_path, nodes=1)
    with pytest.raises(DataCorrupt, match=r"^group-0002\.backup"):
        restore(tmp_path / "backup", settings)
    with pytest.raises(DataCorrupt, match=r"^group-0002\.backup"):
        check(tmp_path / "backup")
    assert names_in(settings) is None


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (lambda piece: piece[0] == ENTRIES, "entry 2, to which its state refers, is missing"),
        (lambda piece: piece[0] != ENTRIES and len(piece) == 5, "the dump is truncated"),
    ],
    ids=["entries", "the end of the dump"],
)
async def test_a_state_that_is_not_whole_is_found_though_every_checksum_is_right(
    tmp_path: Path, left_out: Callable[[bytes], bool], said: str
) -> None:
    await backed_up(tmp_path / "backup", left_out)
    with pytest.raises(DataCorrupt, match=said):
        check(tmp_path / "backup")
    (settings,) = founders(tmp_path, nodes=1)
    with pytest.raises(DataCorrupt, match=said):
        restore(tmp_path / "backup", settings)
    assert names_in(settings) == []


async def test_without_its_list_a_backup_is_unfinished(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    (tmp_path / "backup" / MANIFEST).unlink()
    (settings,) = founders(tmp_path, nodes=1)
    with pytest.raises(InvalidArgument, match="was not finished"):
        restore(tmp_path / "backup", settings)

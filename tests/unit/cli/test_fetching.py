"""Fetching a captured cluster: group by group, from another node when one fails; of what fails nothing is left."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from broker.base.errors import BackupExpired, BrokerError, DataCorrupt, DiskFull, Unavailable
from broker.cli.fetching import ATTEMPTS, Fetching, Watcher
from broker.client.backup import CapturedCluster, CapturedGroup, CapturedPart
from broker.storage.backup_files import MANIFEST
from tests.simulation.fake_disk import FakeDisk

NODES = ("a-0", "b-0", "c-0")
PARTS = [(b"one", b"two"), (), (b"three",)]


class Cluster:
    """Captures that are all alike. ``failing``: what a node answers instead of a part, by node, group and part."""

    def __init__(self) -> None:
        self.failing: dict[tuple[str, int, int], BrokerError] = {}
        self.reads: list[tuple[int, str, int]] = []
        self.kept: list[tuple[bytes, list[int]]] = []
        self.begun = 0
        self.elsewhere: set[str] = set()
        """Nodes that have captured at another entry."""
        self.stuck: asyncio.Event | None = None

    async def begin_backup(self) -> CapturedCluster:
        self.begun += 1
        groups = tuple(CapturedGroup(group, 70 + group, NODES) for group in range(3))
        return CapturedCluster(bytes([self.begun]), "test", 1_795_860_141.381, groups)

    async def read_captured(self, backup: bytes, group: int, source: str, part: int) -> CapturedPart:
        self.reads.append((group, source, part))
        if self.stuck is not None and part == 1:
            self.stuck.set()
            await asyncio.Event().wait()
        failure = self.failing.get((source, group, part))
        if failure is not None:
            raise failure
        index = 70 + group + (source in self.elsewhere)
        return CapturedPart(index, 2, PARTS[part], part == len(PARTS) - 1)

    async def keep_captured(self, backup: bytes, groups: list[int]) -> None:
        self.kept.append((backup, list(groups)))


class Told(Watcher):
    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.size = 0

    def read(self, size: int) -> None:
        self.size += size

    def trouble(self, what: str) -> None:
        self.troubles.append(what)


class Run:
    def __init__(self, cluster: Cluster) -> None:
        self.disk = FakeDisk(Random(1))
        self.told = Told()
        self.fetching = Fetching(cluster, self.disk, self.told)


async def test_all_groups_are_fetched_and_the_nodes_told_what_is_needed_no_more() -> None:
    cluster = Cluster()
    run = Run(cluster)
    manifest = await run.fetching.run()
    assert [(each.group, each.index, each.term, each.source) for each in manifest.groups] == [
        (0, 70, 2, "a-0"), (1, 71, 2, "a-0"), (2, 72, 2, "a-0"),
    ]  # fmt: skip
    assert (manifest.cluster, manifest.backup, manifest.captured_at) == ("test", "01", "2026-11-28T10:02:21.381Z")
    assert run.disk.names("") == [MANIFEST, *(each.file for each in manifest.groups)]
    assert cluster.reads[:3] == [(0, "a-0", 0), (0, "a-0", 1), (0, "a-0", 2)]
    assert [groups for _, groups in cluster.kept] == [[1, 2], [2], []]
    assert run.told.size == 3 * 11


@pytest.mark.parametrize("part", [0, 2])
@pytest.mark.parametrize("error", [BackupExpired("gone"), DataCorrupt("a bad disk")])
async def test_a_group_that_one_node_cannot_give_is_read_anew_from_another(part: int, error: BrokerError) -> None:
    cluster = Cluster()
    cluster.failing["a-0", 1, part] = error
    run = Run(cluster)
    manifest = await run.fetching.run()
    assert [each.source for each in manifest.groups] == ["a-0", "b-0", "a-0"]
    assert cluster.begun == 1
    assert run.told.troubles == [f"group 1 is read anew from b-0: {error}"]
    assert (1, "b-0", 0) in cluster.reads
    assert [name for name in run.disk.names("") if name.endswith(".part")] == []


async def test_a_node_that_captured_at_another_entry_is_passed_over() -> None:
    cluster = Cluster()
    cluster.elsewhere = {"a-0", "b-0"}
    manifest = await Run(cluster).fetching.run()
    assert [(each.source, each.index) for each in manifest.groups] == [("c-0", 70), ("c-0", 71), ("c-0", 72)]


async def test_a_group_that_no_node_has_any_more_begins_the_backup_anew() -> None:
    cluster = Cluster()
    for node in NODES:
        cluster.failing[node, 1, 0] = BackupExpired("gone")
    run = Run(cluster)

    async def begin_backup() -> CapturedCluster:
        if cluster.begun == 1:
            assert run.disk.names("") == []
            cluster.failing.clear()
        return await Cluster.begin_backup(cluster)

    cluster.begin_backup = begin_backup  # type: ignore[method-assign]
    manifest = await run.fetching.run()
    assert (manifest.backup, cluster.begun) == ("02", 2)
    assert (b"\x01", []) in cluster.kept


async def test_it_does_not_begin_anew_for_ever() -> None:
    cluster = Cluster()
    for node in NODES:
        cluster.failing[node, 2, 1] = BackupExpired("gone")
    run = Run(cluster)
    with pytest.raises(BackupExpired, match="no node has the captured state of group 2 any more: gone"):
        await run.fetching.run()
    assert cluster.begun == ATTEMPTS
    assert run.disk.names("") == []


@pytest.mark.parametrize("error", [Unavailable("no node answers"), DiskFull("no space left")])
async def test_of_a_backup_that_fails_nothing_is_left(error: BrokerError) -> None:
    cluster = Cluster()
    cluster.failing["a-0", 2, 1] = error
    run = Run(cluster)
    with pytest.raises(type(error)):
        await run.fetching.run()
    assert run.disk.names("") == []


async def test_of_a_backup_that_is_interrupted_nothing_is_left() -> None:
    cluster = Cluster()
    cluster.stuck = asyncio.Event()
    run = Run(cluster)
    fetching = asyncio.ensure_future(run.fetching.run())
    await cluster.stuck.wait()
    assert run.disk.names("") == ["group-0000.backup.part"]
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert run.disk.names("") == []

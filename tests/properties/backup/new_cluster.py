"""What a backup of a cluster in memory becomes: a new cluster in memory, as a restore would make it."""

from __future__ import annotations

from random import Random

from broker.base.ids import DIRECTORY_GROUP, GroupId, Index
from broker.node.backup_states import Resources, resources_of
from broker.node.restoring import make_ready
from broker.replication.transfer import DUMP, decode_entries
from broker.services.backup import BackupService, CapturedCluster, CapturedGroup
from tests.unit.services.fake_groups import FakeCluster


async def read(service: BackupService, backup: bytes, group: CapturedGroup, source: str) -> list[bytes]:
    """All pieces."""
    pieces: list[bytes] = []
    number = 0
    while True:
        part = await service.read(source, group.group, backup, number)  # type: ignore[arg-type]
        assert part.mark.index == group.index
        pieces += part.pieces
        number += 1
        if part.last:
            return pieces


async def restored(
    old: FakeCluster,
    service: BackupService,
    captured: CapturedCluster,
    chance: Random,
    known: Resources | None = None,
) -> FakeCluster:
    """``known``: the queues, where the directory was never told of them."""
    new = FakeCluster(nodes=len(old.nodes), groups=len(old.groups) - 1)
    new.clock.now = old.clock.now
    resources = known or {}
    for group in captured.groups:
        pieces = await read(service, captured.backup, group, chance.choice(group.sources))
        take_over(new, group.group, pieces)
        machine = new.machines[group.group]
        if group.group == DIRECTORY_GROUP and known is None:
            resources = resources_of(machine)
        make_ready(group.group, machine, captured.backup, resources, Index(group.index + 1_000))
    return new


def take_over(new: FakeCluster, group: GroupId, pieces: list[bytes]) -> None:
    new.machines[group].load(piece[1:] for piece in pieces if piece[0] == DUMP)
    for piece in pieces:
        if piece[0] != DUMP:
            new.entries.update(((group, entry.index), entry.data) for entry in decode_entries(piece))

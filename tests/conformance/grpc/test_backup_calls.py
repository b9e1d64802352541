"""BackupService over real connections: begin, read from any node, keep, and the errors of each."""

from __future__ import annotations

from typing import Any

import grpc

from broker.machine import holding
from broker.machine.holding import HoldFor
from broker.pb.backup.v1 import backup_pb2, backup_pb2_grpc
from tests.conformance.grpc.serving import TIMEOUT, Running, refusal, serving
from tests.unit.services.fake_groups import FakeCluster


def backup_of(running: Running, node: str = "a-0") -> Any:
    return backup_pb2_grpc.BackupServiceStub(running.doors[node].channel)


async def begin(running: Running) -> backup_pb2.BeginResponse:
    response: backup_pb2.BeginResponse = await backup_of(running).Begin(backup_pb2.BeginRequest(), timeout=TIMEOUT)
    return response


async def test_what_was_captured_is_read_through_any_node() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        await running.send(b"one book")
        begun = await begin(running)
        assert begun.cluster == "test"
        assert [group.id for group in begun.groups] == [0, 1, 2]
        group = begun.groups[1]
        assert list(group.sources) == ["b-0", "c-0", "a-0"]
        for through, source in (("a-0", "b-0"), ("c-0", "c-0")):
            part = await backup_of(running, through).Read(
                backup_pb2.ReadRequest(backup=begun.backup, group=1, source=source), timeout=TIMEOUT
            )
            assert (part.index, part.last) == (group.index, True)
            assert b"one book" in part.pieces[-1]


async def test_what_is_no_more_there_is_said_so() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        begun = await begin(running)
        await backup_of(running).Keep(backup_pb2.KeepRequest(backup=begun.backup, groups=[2]), timeout=TIMEOUT)
        request = backup_pb2.ReadRequest(backup=begun.backup, group=1, source="b-0")
        status, info = await refusal(backup_of(running).Read(request, timeout=TIMEOUT))
        assert (status, info.code, info.retryable) == (grpc.StatusCode.FAILED_PRECONDITION, "BackupExpired", False)


async def test_another_backup_is_said_to_be_in_the_way() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        for group in running.cluster.machines:
            running.cluster.apply_command(group, holding.ROOM, HoldFor(b"other"))
        status, info = await refusal(backup_of(running).Begin(backup_pb2.BeginRequest(), timeout=TIMEOUT))
        assert (status, info.code, info.retryable) == (grpc.StatusCode.ABORTED, "BackupInProgress", True)

"""BackupService: to capture the cluster, to read what was captured, and to say what is still needed of it."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.ids import GroupId, NodeId
from broker.base.instants import Millis
from broker.edge.grpc.calls import Unary
from broker.pb.backup.v1 import backup_pb2
from broker.services.backup import BackupService


class BackupCalls:
    def __init__(self, service: BackupService) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Unary]:
        return {"Begin": self.begin, "Read": self.read, "Keep": self.keep}

    async def begin(self, _: backup_pb2.BeginRequest, deadline: Millis) -> backup_pb2.BeginResponse:
        captured = await self._service.begin(deadline)
        return backup_pb2.BeginResponse(
            backup=captured.backup,
            cluster=captured.cluster,
            captured_at=captured.at,
            groups=[
                backup_pb2.CapturedGroup(id=group.group, index=group.index, sources=group.sources)
                for group in captured.groups
            ],
        )

    async def read(self, request: backup_pb2.ReadRequest, _: Millis) -> backup_pb2.ReadResponse:
        group = GroupId(request.group)
        part = await self._service.read(NodeId(request.source), group, request.backup, request.part)
        return backup_pb2.ReadResponse(index=part.mark.index, term=part.mark.term, pieces=part.pieces, last=part.last)

    async def keep(self, request: backup_pb2.KeepRequest, _: Millis) -> backup_pb2.KeepResponse:
        await self._service.keep(request.backup, [GroupId(group) for group in request.groups])
        return backup_pb2.KeepResponse()

"""The client's calls for a backup: capture the cluster, read what was captured, say what is still needed of it."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from broker.client.calls import Calling
from broker.pb.backup.v1 import backup_pb2

_BEGIN_SECONDS = 20.0
"""Beyond the client's time-out: another backup that died is in the way for ten."""
_READ_SECONDS = 6.0


class CapturedGroup(msgspec.Struct, frozen=True):
    """``index``: of the last log entry whose effects are in the state; ``sources``: nodes that have it, best first."""

    id: int
    index: int
    sources: tuple[str, ...]


class CapturedCluster(msgspec.Struct, frozen=True):
    """``captured_at``: seconds since the Unix epoch."""

    backup: bytes
    cluster: str
    captured_at: float
    groups: tuple[CapturedGroup, ...]


class CapturedPart(msgspec.Struct, frozen=True):
    """``last``: no part follows."""

    index: int
    term: int
    pieces: tuple[bytes, ...]
    last: bool


class Capturing(Calling):
    async def begin_backup(self) -> CapturedCluster:
        """Captures every group, at one time for all. Raises BackupInProgress, Unavailable."""
        response = await self._caller.call(
            lambda node: node.backup.Begin, backup_pb2.BeginRequest(), extra=_BEGIN_SECONDS
        )
        groups = tuple(CapturedGroup(group.id, group.index, tuple(group.sources)) for group in response.groups)
        return CapturedCluster(response.backup, response.cluster, response.captured_at / 1000, groups)

    async def read_captured(self, backup: bytes, group: int, source: str, part: int) -> CapturedPart:
        """Parts come in order, from 0 on. Raises BackupExpired when ``source`` has it not, or not any more."""
        request = backup_pb2.ReadRequest(backup=backup, group=group, source=source, part=part)
        found = await self._caller.call(lambda node: node.backup.Read, request, extra=_READ_SECONDS)
        return CapturedPart(found.index, found.term, tuple(found.pieces), found.last)

    async def keep_captured(self, backup: bytes, groups: Collection[int]) -> None:
        """Of these groups it is still needed; to be said every now and then, and, without any, at the end."""
        await self._caller.call(lambda node: node.backup.Keep, backup_pb2.KeepRequest(backup=backup, groups=groups))

"""Fetches a captured cluster into files: one group after the other, from whichever node has it, in bounded memory."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Protocol

from broker.aio.tasks import TaskScope
from broker.base.errors import BackupExpired, BrokerError, DataCorrupt
from broker.client.backup import CapturedCluster, CapturedGroup, CapturedPart
from broker.storage.backup_files import FORMAT, GroupFile, GroupWriter, Head, Manifest, instant, write_manifest
from broker.storage.disk import Disk

ATTEMPTS = 3
"""Times that the cluster is captured anew because no node has a group's state any more."""
KEEP_SECONDS = 10.0


class Source(Protocol):
    """What of the client is needed."""

    async def begin_backup(self) -> CapturedCluster: ...

    async def read_captured(self, backup: bytes, group: int, source: str, part: int) -> CapturedPart: ...

    async def keep_captured(self, backup: bytes, groups: list[int]) -> None: ...


class Watcher:
    """Is told how it goes."""

    def begun(self, groups: int) -> None: ...

    def read(self, size: int) -> None: ...

    def finished(self) -> None: ...

    def trouble(self, what: str) -> None: ...


class Fetching:
    """``disk``: an empty directory."""

    def __init__(self, source: Source, disk: Disk, watcher: Watcher) -> None:
        self._source = source
        self._disk = disk
        self._watcher = watcher
        self._wanted: list[int] = []

    async def run(self) -> Manifest:
        """Returns when the backup is finished. Otherwise nothing is left of it, and raises BackupExpired when no node
        has kept a group's state for long enough; BackupInProgress, Unavailable, DiskFull, OSError."""
        for attempt in range(1, ATTEMPTS + 1):
            captured = await self._source.begin_backup()
            try:
                return await self._fetch(captured)
            except BackupExpired as error:
                self._wanted.clear()
                await self._keep(captured.backup)
                if attempt == ATTEMPTS:
                    raise
                self._watcher.trouble(f"{error}; the backup begins anew")
        raise AssertionError("the last attempt returns or raises")

    # --- inside

    async def _fetch(self, captured: CapturedCluster) -> Manifest:
        self._wanted = [group.id for group in captured.groups]
        self._watcher.begun(len(captured.groups))
        files: list[GroupFile] = []
        try:
            async with TaskScope("backup", lambda _name, _error: None) as scope:
                scope.start(self._keep_again_and_again(captured.backup), name="keep")
                for group in captured.groups:
                    files.append(await self._fetch_group(captured.backup, group))
                    self._wanted.remove(group.id)
                    self._watcher.finished()
                    await self._keep(captured.backup)
                await scope.close()
            return write_manifest(self._disk, _manifest(captured, files))
        except BaseException:
            for name in self._disk.names(""):
                self._disk.delete(name)
            raise

    async def _fetch_group(self, backup: bytes, group: CapturedGroup) -> GroupFile:
        for place, source in enumerate(group.sources, 1):
            try:
                return await self._fetch_from(source, backup, group)
            except (BackupExpired, DataCorrupt) as error:
                if place < len(group.sources):
                    self._watcher.trouble(f"group {group.id} is read anew from {group.sources[place]}: {error}")
                    continue
                raise BackupExpired(f"no node has the captured state of group {group.id} any more: {error}") from None
        raise BackupExpired(f"no node has a replica of group {group.id}")

    async def _fetch_from(self, source: str, backup: bytes, group: CapturedGroup) -> GroupFile:
        first = part = await self._source.read_captured(backup, group.id, source, 0)
        if first.index != group.index:
            raise BackupExpired(f"{source} has captured another state: index {first.index}, not {group.index}")
        writer = GroupWriter(self._disk, Head(backup, group.id, first.index, first.term), source)
        try:
            number = 0
            while True:
                for piece in part.pieces:
                    writer.write(piece)
                    self._watcher.read(len(piece))
                if part.last:
                    return await asyncio.to_thread(writer.finish)
                number += 1
                part = await self._source.read_captured(backup, group.id, source, number)
        except BaseException:
            writer.abort()
            raise

    async def _keep_again_and_again(self, backup: bytes) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self._keep(backup)

    async def _keep(self, backup: bytes) -> None:
        try:
            await self._source.keep_captured(backup, self._wanted)
        except BrokerError as error:
            self._watcher.trouble(f"the nodes could not be told what is still needed: {error}")


def _manifest(captured: CapturedCluster, files: list[GroupFile]) -> Manifest:
    return Manifest(
        format=FORMAT,
        version=version("threefold"),
        cluster=captured.cluster,
        backup=captured.backup.hex(),
        captured_at=instant(captured.captured_at),
        groups=tuple(files),
    )

"""Snapshots beside the turn: written to disk in a thread, sent to a follower, received from a leader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from broker.aio.system_clock import microseconds
from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, DataCorrupt, Unavailable
from broker.base.ids import GroupId, Index, NodeId
from broker.replication import inputs, transfer
from broker.replication.captures import Capture, CapturedPart
from broker.storage.damage import Damaged
from broker.storage.store import Store
from broker.telemetry import logs

_log = logs.get(__name__)
_SYNC_EVERY = 1024 * 1024
"""Bytes of received entries staged before the disk must have confirmed them: bounds the memory of a transfer."""

_RETRY_SECONDS = 5.0
"""After a snapshot that could not be written, for want of room, say. Beginning one is work for the whole node."""

_RESEND_SECONDS = 1.0
"""After a transfer that failed, for want of room on the other side, say."""

_REST = 9
"""After each piece that it sends, a transfer rests so many times as long as the piece took to make: who catches up can
wait, clients cannot. On a busy machine making one takes longer, and so does the rest."""


class Host(Protocol):
    """What snapshot work needs of the engine."""

    def handle(self, happened: inputs.Input) -> None: ...

    def damage_found(self, group: GroupId, error: DataCorrupt) -> None: ...

    async def synced(self) -> None: ...

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None: ...


class Snapshots:
    """``bytes_per_second``: a transfer is not faster: the receiver writes it all to a disk on which others wait."""

    def __init__(self, host: Host, store: Store, scope: TaskScope, bytes_per_second: int) -> None:
        self.written = 0
        self.sent = 0
        self.received = 0
        self._host = host
        self._store = store
        self._scope = scope
        self._bytes_per_second = bytes_per_second

    def start(self, job: inputs.SnapshotJob | inputs.SendSnapshot) -> None:
        if type(job) is inputs.SnapshotJob:
            self._scope.start(self._write(job), name=f"snapshot of group {job.group}")
        elif type(job) is inputs.SendSnapshot:
            self._scope.start(self._send(job), name=f"snapshot of group {job.group} to {job.peer}")

    async def read(self, capture: Capture, number: int) -> CapturedPart:
        """A part of what was captured for a backup, no faster than a transfer. Raises BackupExpired, DataCorrupt."""
        live = capture.take_live()
        if live is not None:
            capture.begin(await asyncio.get_running_loop().run_in_executor(None, list, live))
        begun = microseconds()
        part = capture.part(number)
        await asyncio.sleep(self._rest(microseconds() - begun, part.size))
        return part

    async def receive(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        """Raises Unavailable (no replica here wants it), DataCorrupt, msgspec.DecodeError; the sender is then told that
        the transfer failed."""
        incoming = transfer.Incoming(self._store, transfer.decode_header(header))
        group, mark = incoming.header.group, incoming.header.mark
        _log.info("snapshot arriving", group=group, peer=peer, index=mark.index)
        try:
            staged = 0
            async for piece in pieces:
                _expect_wanted(incoming)
                staged += incoming.accept(piece)
                if staged >= _SYNC_EVERY:
                    staged = 0
                    await self._host.synced()
            _expect_wanted(incoming)
            arrived = await asyncio.get_running_loop().run_in_executor(None, incoming.finish)
        except BaseException:
            incoming.abort()
            raise
        self.received += 1
        self._host.handle(arrived)

    def _rest(self, made_in: int, size: int) -> float:
        """Seconds, after ``size`` bytes that took ``made_in`` microseconds to make."""
        return max(made_in * _REST / 1_000_000, size / self._bytes_per_second)

    async def _write(self, job: inputs.SnapshotJob) -> None:
        def write() -> tuple[str, list[tuple[Index, Index]]]:
            writer = self._store.begin_snapshot(job.group, job.mark)
            try:
                for piece in job.pieces:
                    writer.write(piece)
                return writer.finish(), list(job.live)
            except BaseException:
                writer.abort()
                raise

        try:
            name, live = await asyncio.get_running_loop().run_in_executor(None, write)
        except (BrokerError, OSError) as error:
            _log.error("snapshot not written", group=job.group, reason=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            self._host.handle(inputs.SnapshotAbandoned(job.group))
            return
        self.written += 1
        self._host.handle(inputs.SnapshotWritten(job, name, live))

    async def _send(self, job: inputs.SendSnapshot) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            begun = microseconds()
            for piece in transfer.outgoing(self._store, job.group, job.pieces, job.live):
                made_in = microseconds() - begun
                yield piece
                await asyncio.sleep(self._rest(made_in, len(piece)))
                begun = microseconds()

        ok = False
        try:
            header = transfer.encode_header(transfer.SnapshotHeader(job.group, job.mark))
            await self._host.send_bulk(job.peer, header, pieces())
            ok = True
        except Damaged as error:
            self._host.damage_found(job.group, error)
        except (BrokerError, OSError) as error:
            _log.warning("snapshot not sent", group=job.group, peer=job.peer, reason=str(error))
            await asyncio.sleep(_RESEND_SECONDS)
        self.sent += ok
        self._host.handle(inputs.TransferEnded(job.group, job.peer, ok))


def _expect_wanted(incoming: transfer.Incoming) -> None:
    if not incoming.wanted:
        raise Unavailable(f"there is no replica of group {incoming.header.group} here that could take a snapshot")

"""Snapshots on their way between nodes: piece by piece on a line of their own, which may break at any piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from broker.base.errors import DataCorrupt, DiskFull
from broker.base.ids import GroupId, NodeId
from broker.replication import inputs, transfer
from broker.storage.store import Store
from tests.simulation.network import SILENCE, Network
from tests.simulation.world import World


class BulkEnd(Protocol):
    """A node as a transfer sees it. ``work`` runs something in its process, after a delay, if it still lives then."""

    name: str
    incarnation: int

    @property
    def up(self) -> bool: ...
    @property
    def store(self) -> Store: ...
    def handle(self, happened: inputs.Input) -> None: ...
    def work(self, delay: int, act: Callable[..., None], *arguments: Any) -> None: ...
    def sync_delay(self) -> int: ...
    def damage_found(self, group: GroupId, error: DataCorrupt) -> None: ...


class Sending:
    """One transfer under way."""

    def __init__(self, job: inputs.SendSnapshot, source: BulkEnd, target: BulkEnd) -> None:
        self.job = job
        self.source = source
        self.target = target
        self.incarnations = (source.incarnation, target.incarnation)
        self.pieces: Iterator[bytes] = transfer.outgoing(source.store, job.group, job.pieces, job.live)
        self.incoming: transfer.Incoming | None = None


class Bulk:
    def __init__(self, world: World, network: Network) -> None:
        self._world = world
        self._network = network
        self._ends: dict[str, BulkEnd] = {}
        self._under_way: list[Sending] = []

    def join(self, end: BulkEnd) -> None:
        self._ends[end.name] = end

    def send(self, source: BulkEnd, job: inputs.SendSnapshot) -> None:
        self._world.note(source.name, "sends snapshot", job.group, "to", job.peer, job.mark.index)
        target = self._ends[job.peer]
        if not target.up or not self._network.passable(source.name, job.peer):
            source.work(SILENCE // 4, source.handle, inputs.TransferEnded(job.group, NodeId(job.peer), False))
            return
        sending = Sending(job, source, target)
        self._under_way.append(sending)
        self._world.under_way["~ snapshot travels"] += 1
        target.work(self._network.latency(), self._begin, sending)

    def process_ended(self, name: str) -> None:
        """The other end notices, and the receiver throws away what it has."""
        for sending in [sending for sending in self._under_way if name in (sending.source.name, sending.target.name)]:
            self._break(sending)

    def _begin(self, sending: Sending) -> None:
        if self._goes_on(sending):
            header = transfer.SnapshotHeader(sending.job.group, sending.job.mark)
            decoded = transfer.decode_header(transfer.encode_header(header))
            try:
                sending.incoming = transfer.Incoming(sending.target.store, decoded)
            except DiskFull:
                self._break(sending)
                return
            sending.source.work(self._network.latency(), self._next_piece, sending)

    def _next_piece(self, sending: Sending) -> None:
        if not self._goes_on(sending):
            return
        try:
            piece = next(sending.pieces, None)
        except DataCorrupt as error:
            self._break(sending)
            sending.source.damage_found(sending.job.group, error)
            return
        if piece is None:
            sending.target.work(self._network.latency() + sending.target.sync_delay(), self._finish, sending)
        else:
            self._world.note_bytes(piece)
            sending.target.work(self._network.latency(), self._accept, sending, piece)

    def _accept(self, sending: Sending, piece: bytes) -> None:
        if self._goes_on(sending) and sending.incoming is not None:
            try:
                sending.incoming.accept(piece)
            except DiskFull:
                self._break(sending)
                return
            sending.source.work(self._network.latency(), self._next_piece, sending)

    def _finish(self, sending: Sending) -> None:
        if not self._goes_on(sending) or sending.incoming is None:
            return
        try:
            arrived = sending.incoming.finish()
        except DiskFull:
            self._break(sending)
            return
        self._under_way.remove(sending)
        self._world.under_way["~ snapshot travels"] -= 1
        self._world.counts["snapshot transfer"] += 1
        sending.target.handle(arrived)
        sending.source.work(self._network.latency(), sending.source.handle, self._ended(sending, True))

    def _goes_on(self, sending: Sending) -> bool:
        if sending not in self._under_way:
            return False
        wanted = sending.incoming is None or sending.incoming.wanted
        if wanted and self._network.passable(sending.source.name, sending.target.name):
            return True
        self._break(sending)
        return False

    def _break(self, sending: Sending) -> None:
        self._under_way.remove(sending)
        self._world.under_way["~ snapshot travels"] -= 1
        self._world.counts["snapshot transfer broken"] += 1
        source, target = sending.source, sending.target
        if source.up and source.incarnation == sending.incarnations[0]:
            source.work(SILENCE // 4, source.handle, self._ended(sending, False))
        if target.up and target.incarnation == sending.incarnations[1] and sending.incoming is not None:
            target.work(SILENCE // 4, sending.incoming.abort)

    def _ended(self, sending: Sending, ok: bool) -> inputs.TransferEnded:
        return inputs.TransferEnded(sending.job.group, sending.job.peer, ok)

"""Snapshots that a simulated process writes or sends, piece by piece, at the pace of its disk."""

from __future__ import annotations

from typing import Any, Protocol

from broker.base.errors import DiskFull
from broker.replication import inputs
from tests.simulation.bulk import BulkEnd
from tests.simulation.cluster import Cluster


class Writing(BulkEnd, Protocol):
    """A node as its snapshots see it."""


class Snapshotting:
    def __init__(self, node: Writing, cluster: Cluster) -> None:
        self._node = node
        self._cluster = cluster

    def start(self, job: inputs.SnapshotJob | inputs.SendSnapshot) -> None:
        if type(job) is inputs.SendSnapshot:
            self._cluster.bulk.send(self._node, job)
        elif type(job) is inputs.SnapshotJob:
            try:
                writer = self._node.store.begin_snapshot(job.group, job.mark)
            except DiskFull:
                self._node.handle(inputs.SnapshotAbandoned(job.group))
                return
            self._node.work(self._node.sync_delay(), self._write_piece, job, writer)

    def _write_piece(self, job: inputs.SnapshotJob, writer: Any) -> None:
        piece = next(job.pieces, None)
        try:
            if piece is not None:
                writer.write(piece)
                self._node.work(self._node.sync_delay() // 4, self._write_piece, job, writer)
                return
            name = writer.finish()
        except DiskFull:
            self._cluster.world.counts["snapshot without room"] += 1
            writer.abort()
            self._node.handle(inputs.SnapshotAbandoned(job.group))
            return
        self._cluster.world.counts["snapshot write"] += 1
        self._node.handle(inputs.SnapshotWritten(job, name, list(job.live)))

"""What a node knows before its log is read: which data directory this is, whom it has met, how the cluster looked.

A data directory that began empty is an *incarnation* of the node; every start of it is one more *boot*. Others remember
the newest life that they have met, so that a node that comes back with an old copy of its directory, and would break
promises that it has made since, is recognised and refused. This module decides nothing about consensus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from broker.base.errors import BrokerError, InvalidArgument
from broker.base.ids import NodeId
from broker.domain.directory.commands import TopologyAnswer
from broker.storage import small_files
from broker.storage.disk import Disk
from broker.telemetry import logs
from broker.transport.mesh import Life

_log = logs.get(__name__)

IDENTITY, ACQUAINTANCES, TOPOLOGY = "identity", "acquaintances", "topology"
MAX_FORMER = 20
"""Incarnations of a node remembered beside its present one."""


class _Identity(msgspec.Struct, frozen=True):
    """``founders``: with which incarnations the cluster was founded; empty for a node that joined; None: the node does
    not belong to a cluster yet."""

    incarnation: str
    boot: int
    founders: dict[str, str] | None = None


class _Acquaintance(msgspec.Struct, frozen=True):
    life: Life
    former: tuple[str, ...] = ()
    """Incarnations before this one, the latest last."""


_encode = msgspec.msgpack.Encoder().encode
_acquaintances = msgspec.msgpack.Decoder(dict[str, _Acquaintance])


class Memory:
    """Opening it counts a boot, durably. Implements the transport's Acquaintances.

    ``make_id``: text that nobody else makes. ``disowned``: told when a peer knows a later life of this node.
    """

    def __init__(
        self, disk: Disk, node: NodeId, make_id: Callable[[], str], disowned: Callable[[str, BrokerError], None]
    ) -> None:
        """Raises DataCorrupt, DiskFull, OSError."""
        self._disk = disk
        self._node = node
        self._disowned = disowned
        raw = small_files.read(disk, IDENTITY)
        before = _Identity(make_id(), 0) if raw is None else msgspec.msgpack.decode(raw, type=_Identity)
        self._identity = msgspec.structs.replace(before, boot=before.boot + 1)
        small_files.write(disk, IDENTITY, _encode(self._identity))
        self.life = Life(before.incarnation, self._identity.boot, make_id())
        met = small_files.read(disk, ACQUAINTANCES)
        self._met = {} if met is None else _acquaintances.decode(met)
        known = small_files.read(disk, TOPOLOGY)
        self.topology = None if known is None else msgspec.msgpack.decode(known, type=TopologyAnswer)
        """The cluster as it was last seen; None before the directory was ever read."""

    # --- founding

    @property
    def belongs(self) -> bool:
        """The node is of a cluster: it holds what its store has, and founds nothing any more."""
        return self._identity.founders is not None

    def founder(self, node: NodeId) -> str | None:
        """With which incarnation ``node`` founded the cluster, as far as this node was there."""
        return (self._identity.founders or {}).get(node)

    def incarnation_of(self, node: NodeId) -> str | None:
        """The one met last."""
        met = self._met.get(node)
        return None if met is None else met.life.incarnation

    def belong(self, founders: Mapping[NodeId, str]) -> None:
        """From now on of a cluster, founded with these; none: joined. Durable when it returns. Raises DiskFull."""
        self._identity = msgspec.structs.replace(self._identity, founders=dict(founders))
        small_files.write(self._disk, IDENTITY, _encode(self._identity))

    # --- the cluster

    def remember(self, topology: TopologyAnswer) -> None:
        """Raises DiskFull, OSError."""
        if topology != self.topology:
            small_files.write(self._disk, TOPOLOGY, _encode(topology))
            self.topology = topology

    # --- acquaintances

    def objection(self, node: str, life: Life) -> str | None:
        """None: it is remembered as the newest life of ``node``; durably, if the disk has room."""
        met = self._met.get(node)
        if met is None:
            changed = _Acquaintance(life)
        elif life.incarnation == met.life.incarnation:
            if life.boot < met.life.boot or (life.boot == met.life.boot and life.process != met.life.process):
                return self._old(node, f"start {life.boot} of it", f"start {met.life.boot}")
            changed = msgspec.structs.replace(met, life=life)
        elif life.incarnation in met.former:
            return self._old(node, "a data directory", "a newer one that began empty")
        else:
            _log.warning("a node came back with an empty data directory", peer=node)
            changed = _Acquaintance(life, (*met.former, met.life.incarnation)[-MAX_FORMER:])
        if changed != met:
            self._met[node] = changed
            try:
                small_files.write(self._disk, ACQUAINTANCES, _encode(self._met))
            except (BrokerError, OSError) as error:
                _log.warning("it could not be written down who was met", peer=node, reason=str(error))
        return None

    def disowned(self, by: str, reason: str) -> None:
        self._disowned("this data directory is an old copy", InvalidArgument(f"{by} says: {reason}"))

    def _old(self, node: str, this: str, known: str) -> str:
        return (
            f"the data directory of {node} is an old copy: {self._node} sees {this} and has met {known} before. Give "
            f"{node} its newest data directory back; if that is lost, give it an empty one: it gets its replicas anew"
        )

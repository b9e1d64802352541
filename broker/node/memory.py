"""What a node knows before its log is read: which data directory this is, whom it has met, how the cluster looked.

A data directory that began empty is an *incarnation* of the node; every start of it is one more *boot*. Others remember
the newest life that they have met, so that a node that comes back with an old copy of its directory, and would break
promises that it has made since, is recognised: it is told which life was met, and finds that it does not remember it,
or others know that its incarnation is past. This module decides nothing about consensus.
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
from broker.transport.handshake import OLD_COPY, UNKNOWN_NODE
from broker.transport.mesh import Life

_log = logs.get(__name__)

IDENTITY, ACQUAINTANCES, TOPOLOGY = "identity", "acquaintances", "topology"
MAX_FORMER = 20
"""Incarnations of a node remembered beside its present one."""
MAX_LIVES = 1_000
"""Latest boots of which a node remembers which process it was."""


class _Identity(msgspec.Struct, frozen=True):
    """``founders``: with which incarnations the cluster was founded; empty for a node that joined; None: the node does
    not belong to a cluster yet."""

    incarnation: str
    boot: int
    founders: dict[str, str] | None = None
    lives: dict[int, str] = {}
    """By boot, which process it was."""


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
        self.life = Life(before.incarnation, before.boot + 1, make_id())
        lives = {boot: process for boot, process in before.lives.items() if boot > before.boot - MAX_LIVES}
        lives[self.life.boot] = self.life.process
        self._identity = msgspec.structs.replace(before, boot=self.life.boot, lives=lives)
        small_files.write(disk, IDENTITY, _encode(self._identity))
        self._unknown_to: set[str] = set()
        """Nodes that refused this one as none of the cluster, since they last admitted it."""
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

    def remembered(self, node: str) -> Life:
        met = self._met.get(node)
        return Life() if met is None else met.life

    def met(self, node: str, life: Life) -> None:
        """Durably, if the disk has room."""
        self._unknown_to.discard(node)
        known = self._met.get(node)
        if not life.incarnation or (known is not None and known.life == life):
            return
        former = () if known is None else known.former
        if known is not None and known.life.incarnation != life.incarnation:
            _log.warning("a node came back with an empty data directory", peer=node)
            former = (*former, known.life.incarnation)[-MAX_FORMER:]
        self._met[node] = _Acquaintance(life, former)
        try:
            small_files.write(self._disk, ACQUAINTANCES, _encode(self._met))
        except (BrokerError, OSError) as error:
            _log.warning("it could not be written down who was met", peer=node, reason=str(error))

    def objection(self, node: str, life: Life) -> str | None:
        met = self._met.get(node)
        if met is None or life.incarnation not in met.former:
            return None
        return _old(node, f"{self._node} has met it with a newer one that began empty")

    def own_objection(self, by: str, remembered: Life) -> str | None:
        lives = self._identity.lives
        if remembered.incarnation != self.life.incarnation or remembered.boot < min(lives):
            return None
        if lives.get(remembered.boot) == remembered.process:
            return None
        return _old(self._node, f"{by} has met start {remembered.boot} of it, which this one does not remember")

    def refused(self, by: str, code: str, reason: str) -> None:
        if code == OLD_COPY:
            self.disowned(f"{by} says: {reason}")
        elif code == UNKNOWN_NODE:
            self._unknown_to.add(by)

    def left(self, connected: bool) -> bool:
        """The directory did not name this node any more when it was read last; or most of the others do not know it; or
        some do not, and there is nobody to whom it is ``connected``."""
        if self.topology is None:
            return False
        nodes = {node.id for node in self.topology.nodes}
        others = nodes - {self._node}
        unknown = len(self._unknown_to & others)
        return self._node not in nodes or unknown > len(others) // 2 or (unknown > 0 and not connected)

    def disowned(self, reason: str) -> None:
        self._disowned("this data directory is an old copy", InvalidArgument(reason))


def _old(node: str, why: str) -> str:
    return (
        f"the data directory of {node} is an old copy: {why}. Give {node} its newest data directory back; if that is "
        "lost, give it an empty one: it gets its replicas anew"
    )

"""The mesh: every node's connections to every other, behind one door.

Between two nodes there is one control connection, dialled by the smaller node id; frames go both ways over it. Bulk
transfers have connections of their own. Sending never waits and never fails loudly: a frame that cannot go is dropped,
and the consensus above sends again. The mesh must not know what the frames mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.base.errors import InvalidArgument, Unavailable
from broker.base.ids import NodeId
from broker.telemetry import logs
from broker.telemetry.metrics import Registry
from broker.transport.backoff import Backoff, Chance
from broker.transport.chunks import BulkReceipt, BulkSender
from broker.transport.complaints import Complaints
from broker.transport.contract import MeshListener
from broker.transport.control import ControlLink
from broker.transport.dialling import Dialler, keep_dialled, knock_while_alone
from broker.transport.frames import BULK_FAILED, PAYLOAD
from broker.transport.handshake import UNKNOWN_NODE, Acquaintances, Forgetful, Hello, Identity, Life, Version
from broker.transport.introduction import NotAccepted
from broker.transport.listener import Listener
from broker.transport.peer import Connection
from broker.transport.settings import MeshSettings, TlsSettings
from broker.transport.tls import accepting_context, dialling_context
from broker.transport.traffic import Traffic

__all__ = ["Acquaintances", "Life", "Mesh", "MeshListener", "MeshSettings", "TlsSettings"]

_CURRENT_VERSION: Version = (1, 0)
_UNTOLD = Life()


class Mesh:
    """All methods are for the event loop's thread."""

    def __init__(
        self,
        *,
        cluster: str,
        me: NodeId,
        settings: MeshSettings,
        listener: MeshListener,
        scope: TaskScope,
        random: Chance,
        acquaintances: Acquaintances | None = None,
        life: Life = _UNTOLD,
        version: Version = _CURRENT_VERSION,
        registry: Registry | None = None,
    ) -> None:
        """``random`` is a ``random.Random``; ``registry`` is where the mesh's metrics go. Raises InvalidArgument if
        the TLS files cannot be used."""
        self._me = me
        self._settings = settings
        self._listener = listener
        self._scope = scope.child("mesh")
        self._chance = random
        self._log = logs.get(__name__).bind(node=me)
        self._complaints = Complaints(self._log)
        self._traffic = Traffic(registry or Registry())
        self._addresses: dict[NodeId, str] = {}
        self._dialling: dict[NodeId, asyncio.Task[None]] = {}
        self._links: dict[NodeId, Connection] = {}
        self._sending: set[Connection] = set()
        self._receiving: dict[BulkReceipt, Connection] = {}
        self._running = False
        self._acquaintances = acquaintances = acquaintances or Forgetful()
        identity = Identity(cluster, me, version, life)
        tls = settings.tls
        self._dialler = Dialler(
            identity, settings, dialling_context(tls) if tls else None, self._traffic, self._scope, acquaintances
        )
        self._door = Listener(
            identity,
            settings,
            accepting_context(tls) if tls else None,
            self._traffic,
            self._scope,
            self._complaints,
            self._addresses,
            acquaintances,
            self._introduced,
        )

    @property
    def port(self) -> int:
        """The port listened on: the real one once started."""
        return self._door.port

    async def start(self) -> None:
        """Listens, and dials the peers that are set. Raises OSError if the address cannot be bound."""
        await self._door.start()
        self._running = True
        self._dial_missing()
        self._scope.start(self._knock_while_alone(), name="knock while alone")

    async def close(self) -> None:
        """Says goodbye, so that peers report ``closed_by_peer`` at once, and returns when all sockets are closed.
        Bulk transfers are cut off."""
        self._running = False
        self._door.close()
        connections = [*self._links.values(), *self._sending, *self._receiving.values()]
        for connection in connections:
            connection.close("the node is stopping", stopping=True)
        await self._scope.close()
        for connection in connections:
            await connection.gone()
        self._complaints.close()

    def set_peers(self, addresses: dict[NodeId, str]) -> None:
        """Who belongs to the cluster and where it listens, as ``host:port``; replaces what was set before. This node
        itself may be among them. A connection to who no longer belongs is closed; a new address counts from the next
        dialling on. Raises InvalidArgument, and changes nothing, if an address is none."""
        wanted = {peer: address for peer, address in addresses.items() if peer != self._me}
        for peer, address in wanted.items():
            try:
                split_address(address)
            except InvalidArgument as error:
                raise InvalidArgument(f"address of node {peer}: {error}") from None
        gone = [peer for peer in self._addresses if peer not in wanted]
        self._addresses.clear()
        self._addresses.update(wanted)
        for peer in gone:
            if peer in self._dialling:
                self._dialling.pop(peer).cancel()
            if peer in self._links:
                reason = f"{peer} no longer belongs to the cluster of {self._me}"
                self._links[peer].close(reason, code=UNKNOWN_NODE)
        self._dial_missing()

    def send(self, peer: NodeId, payload: bytes) -> bool:
        """Sends at the end of this turn of the event loop. False, and the payload is dropped, if the peer is not
        connected or the send buffer is full. Raises ValueError if the payload is over ``max_frame_bytes``."""
        link = self._links.get(peer)
        return link is not None and link.send(PAYLOAD, payload)

    def connected(self) -> frozenset[NodeId]:
        """Peers to which a control connection is open."""
        return frozenset(self._links)

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        """Sends header and pieces over a connection of their own and returns when the receiver has taken them all.

        A piece, like the header, is at most ``max_frame_bytes``; pieces of 64 KiB to 1 MiB travel best. Raises
        Unavailable if the peer cannot be reached, refuses, or is lost; nothing is known then of what it has kept.
        """
        address = self._addresses.get(peer)
        if address is None or not self._running:
            raise Unavailable(
                f"node {peer} is not a peer of {self._me}, or {self._me} is not running: nothing can be sent"
            )
        sender = BulkSender(peer)
        try:
            connection = await self._dialler.dial(
                peer, address, "bulk", lambda connection: self._begin_sending(sender, connection)
            )
        except (NotAccepted, OSError, TimeoutError) as error:
            sender.outcome.cancel()
            reason = str(error) or "no answer in time"
            raise Unavailable(f"no bulk connection to {peer} at {address}: {reason}") from error
        try:
            await sender.send(connection, header, pieces)
        finally:
            self._sending.discard(connection)

    def _begin_sending(self, sender: BulkSender, connection: Connection) -> None:
        self._sending.add(connection)
        connection.admit(sender)
        if not self._running:  # closed while the connection was being made
            connection.close("the node is stopping", stopping=True)

    def _dial_missing(self) -> None:
        """One dialling task for every peer with a larger id; the smaller ones dial us."""
        if not self._running:
            return
        for peer in self._addresses:
            if self._me < peer and peer not in self._dialling:
                self._dialling[peer] = self._scope.start(self._keep_dialled(peer), name=f"dial {peer}")

    async def _keep_dialled(self, peer: NodeId) -> None:
        settings = self._settings
        await keep_dialled(
            self._dialler,
            peer,
            lambda: self._addresses[peer],
            lambda connection: self._link(peer, connection),
            Backoff(settings.reconnect_min, settings.reconnect_max, self._chance),
            self._complaints,
            settled_after=settings.reconnect_max / 1000,
        )

    async def _knock_while_alone(self) -> None:
        await knock_while_alone(
            self._dialler,
            lambda: [(peer, address) for peer, address in self._addresses.items() if peer < self._me],
            lambda: not self._links,
            lambda peer, connection: self._link(NodeId(peer), connection),
            self._settings.silence_timeout / 1000,
        )

    def _introduced(self, connection: Connection, hello: Hello) -> None:
        """A peer dialled us and passed the handshake."""
        peer = NodeId(hello.node)
        if hello.purpose == "control":
            self._link(peer, connection)
        elif len(self._receiving) < self._settings.max_bulk_receipts:
            receipt = BulkReceipt(peer, self._settings.bulk_window_bytes, self._receive, self._forget)
            self._receiving[receipt] = connection
            connection.admit(receipt)
        else:
            limit = self._settings.max_bulk_receipts
            reason = f"{self._me} takes {limit} bulk transfers at a time: try again later"
            connection.send(BULK_FAILED, reason.encode())
            connection.close(reason, announce=False)

    def _link(self, peer: NodeId, connection: Connection) -> None:
        """This is the control connection to ``peer`` now. Whoever dials again has given up on the one before."""
        former = self._links.get(peer)
        if former is not None:
            former.close("replaced by a newer connection")
        self._links[peer] = connection
        connection.admit(ControlLink(peer, self._listener.frame_received, self._unlink))
        self._log.info("peer connected", peer=peer, remote=connection.remote)
        self._listener.peer_up(peer)

    def _unlink(self, peer: NodeId, connection: Connection) -> None:
        closed_by_peer = connection.closed_by_peer
        del self._links[peer]
        if connection.ending_code:
            self._acquaintances.refused(peer, connection.ending_code, connection.ending)
        self._log.info("peer disconnected", peer=peer, reason=connection.ending, closed_by_peer=closed_by_peer)
        self._listener.peer_down(peer, closed_by_peer)

    def _receive(self, receipt: BulkReceipt, header: bytes) -> None:
        consumer = self._listener.bulk_received(receipt.peer, header, receipt)
        self._scope.start(receipt.consume(consumer), name=f"bulk from {receipt.peer}")

    def _forget(self, receipt: BulkReceipt) -> None:
        del self._receiving[receipt]

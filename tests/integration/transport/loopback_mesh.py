"""Meshes on loopback sockets for tests: a listener that notes what it is told, and a cluster of such nodes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

from broker.aio.tasks import TaskScope
from broker.base.ids import NodeId
from broker.telemetry.metrics import Registry
from broker.transport.contract import MeshListener
from broker.transport.handshake import Acquaintances
from broker.transport.mesh import Mesh
from broker.transport.settings import MeshSettings

A, B, C = NodeId("a-0"), NodeId("b-0"), NodeId("c-0")
PATIENCE = 10.0
"""Seconds after which a test gives up waiting for an event that does not come."""

BulkConsumer = Callable[[NodeId, bytes, AsyncIterator[bytes]], Awaitable[None]]


class Notes(MeshListener):
    """Keeps what the mesh tells and lets a test wait until something is among it."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.received: list[tuple[NodeId, bytes]] = []
        self.bulk: list[tuple[NodeId, bytes, bytes]] = []
        self.consume: BulkConsumer = self._keep
        self._changed = asyncio.Event()

    def frame_received(self, peer: NodeId, payload: bytes) -> None:
        self.received.append((peer, payload))
        self._changed.set()

    def peer_up(self, peer: NodeId) -> None:
        self.events.append(("up", peer))
        self._changed.set()

    def peer_down(self, peer: NodeId, closed_by_peer: bool) -> None:
        self.events.append(("down", peer, closed_by_peer))
        self._changed.set()

    async def bulk_received(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        await self.consume(peer, header, pieces)

    async def _keep(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        body = b"".join([piece async for piece in pieces])
        self.bulk.append((peer, header, body))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when ``condition`` holds; looks again after everything the mesh tells. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_event(self, *event: object) -> None:
        await self.until(lambda: event in self.events)


class Node:
    """A mesh with its notes. ``failures`` holds what ended the component, which is nothing in a good test."""

    def __init__(
        self,
        me: NodeId,
        settings: MeshSettings,
        cluster: str,
        version: tuple[int, int],
        acquaintances: Acquaintances | None = None,
    ) -> None:
        self.me = me
        self.notes = Notes()
        self.registry = Registry()
        self.failures: list[tuple[str, BaseException]] = []
        self.scope = TaskScope(f"node {me}", lambda name, error: self.failures.append((name, error)))
        self.mesh = Mesh(
            cluster=cluster,
            me=me,
            settings=settings,
            listener=self.notes,
            scope=self.scope,
            random=random.Random(1),
            version=version,
            registry=self.registry,
            acquaintances=acquaintances,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.mesh.port}"

    def count(self, metric: str) -> int:
        return self.registry.counter(metric, "").value


class Loopback:
    """Starts nodes and ends them; none may have failed."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    async def start(
        self,
        me: NodeId,
        settings: MeshSettings | None = None,
        *,
        cluster: str = "test",
        version: tuple[int, int] = (1, 0),
        acquaintances: Acquaintances | None = None,
    ) -> Node:
        node = Node(me, settings or MeshSettings(), cluster, version, acquaintances)
        self.nodes.append(node)
        await node.mesh.start()
        return node

    async def connected(self, *names: NodeId, settings: MeshSettings | None = None) -> list[Node]:
        """Nodes that know one another and are connected, each to every other."""
        nodes = [await self.start(name, settings) for name in names]
        introduce(nodes)
        for node in nodes:
            for other in names:
                if other != node.me:
                    await node.notes.until_event("up", other)
        return nodes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            await node.mesh.close()
            await node.scope.close()
        if error is None:
            assert [node.failures for node in self.nodes] == [[]] * len(self.nodes)


def introduce(nodes: Iterable[Node]) -> None:
    """Tells every node where all are."""
    nodes = list(nodes)
    addresses = {node.me: node.address for node in nodes}
    for node in nodes:
        node.mesh.set_peers(addresses)


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece

"""The upper half of a node: the services and the gRPC front door, built and joined. Knows no disk and no peer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from broker.aio.tasks import OnFailure, TaskScope
from broker.base.instants import SECOND, Millis
from broker.domain.directory.commands import Group, Node
from broker.edge.grpc.server import GrpcServer, GrpcSettings, ServerTls
from broker.node.settings import NodeSettings
from broker.replication.groups import Groups
from broker.services.assembly import ServiceSettings, assemble
from broker.services.cluster import HandedOver
from broker.telemetry.metrics import Registry

CALLS_GRACE = Millis(3_000)
"""What calls under way have to end when the node stops."""


async def pause(time: Millis) -> None:
    await asyncio.sleep(time / SECOND)


class Frontage:
    def __init__(
        self,
        settings: NodeSettings,
        nodes: tuple[Node, ...],
        first_groups: tuple[Group, ...],
        groups: Groups,
        scope: TaskScope,
        registry: Registry,
        fail: OnFailure,
        version: str,
    ) -> None:
        self._errands = scope.child("errands")
        self._clock = groups.clock
        self._services = assemble(
            groups, settings.cluster, nodes, first_groups, version, pause, os.urandom, ServiceSettings(), registry
        )
        self._server = GrpcServer(
            GrpcSettings(settings.client_listen, _tls(settings)),
            self._services.queues,
            self._services.cluster,
            self._services.backup,
            registry,
            scope,
            fail,
            pause,
            os.urandom,
        )

    @property
    def settled(self) -> bool:
        """The directory has content, so that clients can be served."""
        return self._services.controller.settled

    async def start(self) -> None:
        """Raises OSError for an address that cannot be bound or a certificate that cannot be read."""
        await self._server.start()
        self._errands.start(self._services.controller.run(), name="controller")
        self._services.courier.start(self._errands)

    async def hand_over(self, time: Millis) -> HandedOver:
        """Raises BrokerError."""
        return await self._services.cluster.hand_over(Millis(self._clock.monotonic() + time))

    async def stop(self) -> None:
        await self._server.drain(CALLS_GRACE)

    async def close(self) -> None:
        """Afterwards nothing of it asks the lower half any more."""
        await self._errands.close()
        await self._server.close()


def _tls(settings: NodeSettings) -> ServerTls | None:
    if not settings.tls_key:
        return None
    return ServerTls(Path(settings.tls_certificate), Path(settings.tls_key))

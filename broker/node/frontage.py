"""The upper half of a node: the services and the gRPC front door, built and joined. Knows no disk and no peer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from broker.aio.tasks import OnFailure, TaskScope
from broker.base.instants import SECOND, Millis
from broker.base.trouble import Trouble
from broker.edge.grpc.server import GrpcServer, GrpcSettings, ServerTls
from broker.node.open_files import client_connections, raise_limit
from broker.node.replicas import Replicas
from broker.node.settings import NodeSettings
from broker.services.admission import AdmissionSettings
from broker.services.assembly import ServiceSettings, assemble
from broker.services.cluster import HandedOver
from broker.services.healing import HealingSettings
from broker.services.shedding import WindowSettings
from broker.telemetry.metrics import Registry

CALLS_GRACE = Millis(3_000)
"""What calls under way have to end when the node stops."""


async def pause(time: Millis) -> None:
    await asyncio.sleep(time / SECOND)


class Frontage:
    def __init__(
        self,
        settings: NodeSettings,
        replicas: Replicas,
        scope: TaskScope,
        registry: Registry,
        fail: OnFailure,
        version: str,
        trouble: Trouble,
    ) -> None:
        self._errands = scope.child("errands")
        self._clock = replicas.groups.clock
        self._services = assemble(
            replicas.groups,
            settings.cluster,
            settings.this_node(),
            replicas.known.nodes,
            replicas.known.groups,
            version,
            pause,
            os.urandom,
            _service_settings(settings),
            registry,
            trouble,
        )
        self._services.topology.changed = replicas.follow
        self._server = GrpcServer(
            _grpc_settings(settings),
            self._services.queues,
            self._services.cluster,
            self._services.membership,
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
        self._errands.start(self._services.healer.run(), name="healer")
        self._errands.start(self._services.stepping_back.run(), name="step back")
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


def _service_settings(settings: NodeSettings) -> ServiceSettings:
    window = WindowSettings(target=Millis(settings.send_target_ms))
    healing = HealingSettings(dead_after=Millis(settings.replace_dead_after_ms))
    return ServiceSettings(admission=AdmissionSettings(window=window), healing=healing)


def _grpc_settings(settings: NodeSettings) -> GrpcSettings:
    connections = client_connections(settings.client_connections, raise_limit())
    return GrpcSettings(settings.client_listen, _tls(settings), connections=connections)


def _tls(settings: NodeSettings) -> ServerTls | None:
    if not settings.tls_key:
        return None
    return ServerTls(Path(settings.tls_certificate), Path(settings.tls_key))

"""The upper half of a node: the services and the front doors, built and joined. Knows no disk and no peer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from broker.aio.tasks import OnFailure, TaskScope
from broker.base.instants import SECOND, Millis
from broker.base.trouble import Trouble
from broker.edge.aws.accounts import Defaults
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.door import Limits
from broker.edge.aws.server import AwsServer, AwsServerSettings
from broker.edge.aws.sqs.service import SqsService
from broker.edge.aws.sts.service import StsService
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
        unready: Callable[[], str | None],
    ) -> None:
        """``unready``: why the node does not serve, or None."""
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
            self._errands.child("calls"),
        )
        self._services.topology.listeners.append(replicas.follow)
        self._server = GrpcServer(
            _grpc_settings(settings),
            self._services.queues,
            self._services.cluster,
            self._services.membership,
            self._services.backup,
            self._services.access_keys,
            registry,
            scope,
            fail,
            pause,
            os.urandom,
        )
        self._aws = self._aws_server(settings, scope, registry, version, unready)

    @property
    def settled(self) -> bool:
        """The directory has content, so that clients can be served."""
        return self._services.controller.settled

    async def start(self) -> None:
        """Raises OSError for an address that cannot be bound or a certificate that cannot be read."""
        await self._server.start()
        if self._aws is not None:
            await self._aws.start()
        self._errands.start(self._services.controller.run(), name="controller")
        self._errands.start(self._services.healer.run(), name="healer")
        self._errands.start(self._services.stepping_back.run(), name="step back")
        self._services.courier.start(self._errands)

    async def hand_over(self, time: Millis) -> HandedOver:
        """Raises BrokerError."""
        return await self._services.cluster.hand_over(Millis(self._clock.monotonic() + time))

    async def stop(self) -> None:
        doors: list[GrpcServer | AwsServer] = [self._server]
        if self._aws is not None:
            doors.append(self._aws)
        draining = [self._errands.start(door.drain(CALLS_GRACE), name="drain a door") for door in doors]
        await asyncio.wait(draining)

    async def close(self) -> None:
        """Afterwards nothing of it asks the lower half any more."""
        await self._errands.close()
        await self._server.close()
        if self._aws is not None:
            await self._aws.close()

    def _aws_server(
        self,
        settings: NodeSettings,
        scope: TaskScope,
        registry: Registry,
        version: str,
        unready: Callable[[], str | None],
    ) -> AwsServer | None:
        if not settings.aws_listen:
            return None
        defaults = Defaults(settings.aws_account, settings.aws_region)
        app_settings = AppSettings(settings.aws_public_url, defaults, version)
        sqs = SqsService(self._services.queues, defaults.account, defaults.region, os.urandom)
        keys = None if settings.development else self._services.access_keys
        app = App([sqs, StsService()], app_settings, self._clock, registry, os.urandom, unready, keys=keys)
        return AwsServer(_aws_settings(settings), app.answer, self._clock, scope, registry, pause)


def _service_settings(settings: NodeSettings) -> ServiceSettings:
    window = WindowSettings(target=Millis(settings.send_target_ms))
    healing = HealingSettings(dead_after=Millis(settings.replace_dead_after_ms))
    return ServiceSettings(admission=AdmissionSettings(window=window), healing=healing)


def _grpc_settings(settings: NodeSettings) -> GrpcSettings:
    connections = client_connections(settings.client_connections, raise_limit())
    return GrpcSettings(settings.client_listen, _tls(settings), connections=connections)


def _aws_settings(settings: NodeSettings) -> AwsServerSettings:
    limits = Limits(connections=client_connections(settings.client_connections, raise_limit()))
    if not settings.tls_key:
        return AwsServerSettings(settings.aws_listen, limits=limits)
    return AwsServerSettings(settings.aws_listen, Path(settings.tls_certificate), Path(settings.tls_key), limits)


def _tls(settings: NodeSettings) -> ServerTls | None:
    if not settings.tls_key:
        return None
    return ServerTls(Path(settings.tls_certificate), Path(settings.tls_key))

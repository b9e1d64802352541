"""The gRPC front door: one server on one port, with health and reflection, and a graceful way to close.

This room must not know what the services do; each call's meaning is in the room of its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import msgspec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from broker.aio.tasks import OnFailure, TaskScope
from broker.base.instants import SECOND, Millis
from broker.base.limits import KIB, MAX_BATCH_BYTES, MIB
from broker.edge.grpc.access_keys import AccessKeyCalls
from broker.edge.grpc.backup import BackupCalls
from broker.edge.grpc.calls import Calls
from broker.edge.grpc.cluster import ClusterCalls
from broker.edge.grpc.consume import Consume
from broker.edge.grpc.door import Door
from broker.edge.grpc.door_watch import DoorWatch
from broker.edge.grpc.errors import ErrorTable
from broker.edge.grpc.gone_callers import keep_quiet
from broker.edge.grpc.looking import LookingCalls
from broker.edge.grpc.moves import MoveCalls
from broker.edge.grpc.produce import Produce
from broker.edge.grpc.queues import QueueCalls
from broker.edge.grpc.send_gate import SendGate
from broker.edge.grpc.streams import Afterwards, OpenStreams, Pause, Surroundings
from broker.pb.backup.v1 import backup_pb2
from broker.pb.cluster.v1 import cluster_pb2
from broker.pb.identity.v1 import identity_pb2
from broker.pb.queues.v1 import queues_pb2
from broker.services.access_keys import AccessKeys
from broker.services.backup import BackupService
from broker.services.cluster import ClusterService
from broker.services.membership import MembershipService
from broker.services.queues import QueueService
from broker.telemetry.metrics import Registry

REQUEST_SIZE_LIMIT = MAX_BATCH_BYTES + MIB
"""Bytes of one request, refused before they are buffered: a batch, and what its encoding adds."""
_NOT_BEGUN_SECONDS = 2
"""A call that could not be begun for so long is refused: whoever called may have given it up."""
QUEUE_SERVICE = queues_pb2.DESCRIPTOR.services_by_name["QueueService"]
CLUSTER_SERVICE = cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"]
BACKUP_SERVICE = backup_pb2.DESCRIPTOR.services_by_name["BackupService"]
ACCESS_KEY_SERVICE = identity_pb2.DESCRIPTOR.services_by_name["AccessKeyService"]
_SERVED = tuple(each.full_name for each in (QUEUE_SERVICE, CLUSTER_SERVICE, BACKUP_SERVICE, ACCESS_KEY_SERVICE))


class ServerTls(msgspec.Struct, frozen=True):
    """Paths of PEM files. With ``client_ca``, only clients with a certificate signed by it are let in."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class GrpcSettings(msgspec.Struct, frozen=True):
    """``listen`` is host:port, port 0 for any free one. Times in milliseconds.

    ``calls`` are open at once, streams among them; ``calls_at_once`` may be begun in one turn of the event loop, and
    ``calls_not_begun`` wait for that. Beyond ``connections`` the next ones are closed. ``handshake_timeout``: for TLS
    and the first frames of HTTP/2. ``header_size``: bytes of a call's headers.
    ``watched``: sends make way when calls wait before the door.
    """

    listen: str
    tls: ServerTls | None = None
    keepalive_time: Millis = Millis(20 * SECOND)
    keepalive_timeout: Millis = Millis(10 * SECOND)
    least_client_ping_interval: Millis = Millis(5 * SECOND)
    calls: int = 65_536
    calls_of_connection: int = 1_024
    calls_at_once: int = 256
    calls_not_begun: int = 16_384
    connections: int = 20_000
    handshake_timeout: Millis = Millis(10 * SECOND)
    header_size: int = 16 * KIB
    watched: bool = True


class GrpcServer:
    """``scope`` must outlive the server: it finishes there what streams leave behind. ``fail`` is told of bugs."""

    def __init__(
        self,
        settings: GrpcSettings,
        queues: QueueService,
        cluster: ClusterService,
        membership: MembershipService,
        backup: BackupService,
        access_keys: AccessKeys,
        registry: Registry,
        scope: TaskScope,
        fail: OnFailure,
        pause: Pause,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._streams = OpenStreams()
        self._health = health.aio.HealthServicer()
        self._queues = queues
        self._cluster = cluster
        self._membership = membership
        self._backup = backup
        self._access_keys = access_keys
        table = ErrorTable(random_bytes)
        self._calls = Calls(queues.clock, registry, table)
        self._around = Surroundings(queues, queues.clock, table, Afterwards(scope), fail, pause)
        self._handlers = tuple(self._all_handlers())
        self._door = Door(settings.calls_at_once, self._make, self._listen)
        wait = Millis(max(1, queues.send_target // 2))  # the other half is for the way to the other zones and the disks
        waiting = registry.gauge("broker_grpc_wait_milliseconds", "How long a call waited to be begun, lately.")
        late, quick = queues.calls_wait, queues.calls_are_quick
        self._watch = DoorWatch(lambda: queues.calls_asked, late, quick, wait, pause, waiting, fail)
        self._watching: asyncio.Task[None] | None = None
        self._scope = scope
        self._port = 0

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self._port

    async def start(self) -> None:
        """Raises OSError when the address cannot be bound or a TLS file cannot be read."""
        keep_quiet()
        self._port = await self._door.open(self._settings.listen)
        if self._settings.watched and self._door.private:
            self._watching = self._scope.start(self._watch.run(self._door.private), name="watch the door")
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self, grace: Millis) -> None:
        """Say so, end the streams, let calls under way end within ``grace`` ms, and stop."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._streams.drain()
        await self._door.close(grace / SECOND)
        await self._around.afterwards.wait(grace)

    async def close(self) -> None:
        """At once; callers see their calls cancelled. May be called again, and without start."""
        if self._watching is not None:
            self._watching.cancel()
        await self._door.close(None)

    def _make(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=_options(self._settings), maximum_concurrent_rpcs=self._settings.calls)
        server.add_generic_rpc_handlers(self._handlers)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*_SERVED, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server

    def _listen(self, server: grpc.aio.Server, address: str) -> int:
        tls = self._settings.tls
        try:
            if tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, _credentials(tls))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error

    def _all_handlers(self) -> list[grpc.GenericRpcHandler]:
        streaming = {
            "Produce": Produce(self._around, self._streams).serve,
            "Consume": Consume(self._around, self._streams).serve,
        }
        queues = self._queues
        unary = {**QueueCalls(queues).by_name(), **LookingCalls(queues).by_name(), **MoveCalls(queues).by_name()}
        return [
            self._calls.handlers(QUEUE_SERVICE, unary, streaming, {"Send": SendGate(queues)}),
            self._calls.handlers(CLUSTER_SERVICE, ClusterCalls(self._cluster, self._membership).by_name(), {}),
            self._calls.handlers(BACKUP_SERVICE, BackupCalls(self._backup).by_name(), {}),
            self._calls.handlers(ACCESS_KEY_SERVICE, AccessKeyCalls(self._access_keys).by_name(), {}),
        ]

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", *_SERVED):
            await self._health.set(service, status)


def _options(settings: GrpcSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", REQUEST_SIZE_LIMIT),
        ("grpc.max_send_message_length", REQUEST_SIZE_LIMIT),
        ("grpc.keepalive_time_ms", settings.keepalive_time),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", settings.least_client_ping_interval),
        ("grpc.max_concurrent_streams", settings.calls_of_connection),
        ("grpc.max_metadata_size", settings.header_size),
        ("grpc.absolute_max_metadata_size", settings.header_size),
        ("grpc.server.max_pending_requests", settings.calls_not_begun),
        ("grpc.server.max_pending_requests_hard_limit", 2 * settings.calls_not_begun),
        ("grpc.server_max_unrequested_time_in_server", _NOT_BEGUN_SECONDS),
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.server_handshake_timeout_ms", settings.handshake_timeout),
        ("grpc.http2.settings_timeout", settings.handshake_timeout),
    ]


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    client_ca = None if tls.client_ca is None else tls.client_ca.read_bytes()
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], root_certificates=client_ca, require_client_auth=client_ca is not None)

"""One gRPC channel to every node the client knows, connected ahead of need, so that a failover costs no dial.

Knows which nodes have answered and which stay silent; does not know who leads what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import grpc
import grpc.aio

from broker.aio.wakeups import all_read_at_once
from broker.base.addresses import split_address
from broker.base.errors import InvalidArgument
from broker.base.limits import MIB
from broker.pb.backup.v1 import backup_pb2_grpc
from broker.pb.cluster.v1 import cluster_pb2_grpc
from broker.pb.identity.v1 import identity_pb2_grpc
from broker.pb.queues.v1 import queues_pb2_grpc

DEFAULT_PORT = 4001

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A connection per client, not per process: a slow consumer must not share flow control with a producer elsewhere.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 32 * MIB),
    ("grpc.max_send_message_length", 32 * MIB),
    # A dead peer is noticed without waiting for TCP, also while nothing is sent.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted node is dialled again soon; the first of these is also how long a dial may take.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Time of the event loop is spent on messages, not on looking for a proxy or a service configuration.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
)

OpenChannel = Callable[[str], grpc.aio.Channel]


def open_channel(credentials: grpc.ChannelCredentials | None) -> OpenChannel:
    """``credentials`` None: plain text, for loopback and trusted networks."""
    if credentials is None:
        return lambda address: grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return lambda address: grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)


class Endpoint:
    """A node's client address, its channel and its stubs. ``suspect``: it broke off or fell silent, and has not
    answered since. ``heard_at``: when it last answered somebody who wondered whether it is there, in seconds;
    ``listening``: held by whoever asks it that."""

    __slots__ = ("access_keys", "address", "backup", "channel", "cluster", "heard_at", "listening", "queues", "suspect")

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.channel = channel
        self.queues = queues_pb2_grpc.QueueServiceStub(channel)
        self.cluster = cluster_pb2_grpc.ClusterServiceStub(channel)
        self.access_keys = identity_pb2_grpc.AccessKeyServiceStub(channel)
        self.backup = backup_pb2_grpc.BackupServiceStub(channel)
        self.suspect = False
        self.heard_at = float("-inf")
        self.listening = asyncio.Lock()


class Channels:
    def __init__(self, addresses: Iterable[str], opener: OpenChannel) -> None:
        self._opener = opener
        self._endpoints: dict[str, Endpoint] = {}
        self.ever_answered = False
        for address in addresses:
            self.at(address)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Those not suspected first, else in the order they became known."""
        return sorted(self._endpoints.values(), key=lambda endpoint: endpoint.suspect)

    @property
    def addresses(self) -> list[str]:
        return list(self._endpoints)

    @property
    def nobody_answers(self) -> bool:
        """Every known node was asked in vain, and none has answered this client before."""
        return not self.ever_answered and all(endpoint.suspect for endpoint in self._endpoints.values())

    def at(self, address: str) -> Endpoint:
        """The endpoint of a known or new address; dials it in the background."""
        endpoint = self._endpoints.get(address)
        if endpoint is None:
            with all_read_at_once():
                channel = self._opener(address)
            endpoint = self._endpoints[address] = Endpoint(address, channel)
            channel.get_state(try_to_connect=True)
        return endpoint

    def answered(self, endpoint: Endpoint) -> None:
        endpoint.suspect = False
        self.ever_answered = True

    async def close(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.channel.close()


def parse_addresses(cluster: str | Iterable[str]) -> list[str]:
    """From ``"host:port,host:port"`` or an iterable of ``host:port``. Raises InvalidArgument, naming the bad one."""
    parts = cluster.split(",") if isinstance(cluster, str) else list(cluster)
    addresses = list(dict.fromkeys(_parse(part.strip()) for part in parts if part.strip()))
    if not addresses:
        raise InvalidArgument(f"{cluster!r} names no node; give addresses such as 127.0.0.1:4001,127.0.0.1:4002")
    return addresses


def _parse(text: str) -> str:
    address = f"{text}:{DEFAULT_PORT}" if ":" not in text or text.endswith("]") else text
    split_address(address)
    return address

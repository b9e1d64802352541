"""TLS for clients, and mutual TLS where the server asks for certificates."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from broker.aio.tasks import TaskScope
from broker.edge.grpc.server import GrpcServer, GrpcSettings, ServerTls
from broker.pb.queues.v1 import queues_pb2, queues_pb2_grpc
from broker.telemetry.metrics import Registry
from tests.conformance.grpc.serving import TIMEOUT, real_pause
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, random_bytes

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs openssl to make certificates")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([str(OPENSSL), *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca, and a server and a client with certificates signed by it."""
    folder = tmp_path_factory.mktemp("keys")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    return folder


@asynccontextmanager
async def serving(tls: ServerTls) -> AsyncIterator[str]:
    services = await one_node(FakeCluster())
    async with TaskScope("test", lambda *_: None) as scope:
        server = GrpcServer(
            GrpcSettings("localhost:0", tls),
            services.queues,
            services.cluster,
            services.membership,
            services.backup,
            services.access_keys,
            Registry(),
            scope,
            lambda *_: None,
            real_pause,
            random_bytes,
        )
        await server.start()
        yield f"localhost:{server.port}"
        await server.close()


async def names(address: str, credentials: grpc.ChannelCredentials | None) -> list[str]:
    channel = (
        grpc.aio.insecure_channel(address) if credentials is None else grpc.aio.secure_channel(address, credentials)
    )
    async with channel:
        stub: queues_pb2_grpc.QueueServiceAsyncStub = queues_pb2_grpc.QueueServiceStub(channel)
        return list((await stub.ListQueues(queues_pb2.ListQueuesRequest(), timeout=TIMEOUT)).names)


def trusting(keys: Path, client: str | None = None) -> grpc.ChannelCredentials:
    key = (keys / f"{client}.key").read_bytes() if client else None
    certificate = (keys / f"{client}.pem").read_bytes() if client else None
    return grpc.ssl_channel_credentials((keys / "ca.pem").read_bytes(), key, certificate)


async def test_a_client_that_trusts_the_server_is_served_and_plain_text_is_not(keys: Path) -> None:
    async with serving(ServerTls(keys / "server.pem", keys / "server.key")) as address:
        assert await names(address, trusting(keys)) == []
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await names(address, None)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_where_certificates_are_asked_for_a_client_without_one_is_refused(keys: Path) -> None:
    async with serving(ServerTls(keys / "server.pem", keys / "server.key", keys / "ca.pem")) as address:
        assert await names(address, trusting(keys, "client")) == []
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await names(address, trusting(keys))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_that_is_not_there_is_an_error_at_the_start(keys: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere\.pem"):
        async with serving(ServerTls(keys / "nowhere.pem", keys / "server.key")):
            pass

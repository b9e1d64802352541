from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from tests.integration.aws.serving import connected, serving
from tests.integration.aws.test_http2 import Client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    own, key = folder / "own.pem", folder / "own.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key))
    names = ("-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-out", str(own))
    subprocess.run(["openssl", "req", "-x509", *curve, *names], check=True, capture_output=True)
    return own, key


async def scheme(request: Request) -> Document:
    return Document(200, (), request.scheme.encode())


async def test_with_a_certificate_both_versions_of_http_are_spoken_over_tls(certificate: tuple[Path, Path]) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    trusting.set_alpn_protocols(["h2"])
    async with serving(scheme, None, *certificate) as server:
        async with connected(server, trusting) as wire:
            wire.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await wire.response())[2] == b"https"
        async with connected(server, trusting) as wire:
            client = Client(wire)
            assert await client.until_answered(client.ask(b"")) == [(200, b"https")]


async def test_whoever_does_not_speak_tls_is_sent_away(certificate: tuple[Path, Path]) -> None:
    async with serving(scheme, None, *certificate) as server, connected(server) as wire:
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        assert b"https" not in await wire.read()


async def test_a_file_that_is_missing_is_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        async with serving(scheme, None, tmp_path / "none.pem", tmp_path / "none.key"):
            pass


async def source(request: Request) -> Document:
    return Document(200, (), request.source_ip.encode())


async def test_requests_say_where_they_come_from() -> None:
    async with serving(source) as server:
        async with connected(server) as wire:
            wire.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await wire.response())[2] == b"127.0.0.1"
        async with connected(server) as wire:
            client = Client(wire)
            assert await client.until_answered(client.ask(b"")) == [(200, b"127.0.0.1")]

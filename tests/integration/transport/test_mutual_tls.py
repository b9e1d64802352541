"""Mutual TLS: the cluster's own certificates are welcome, all others are not."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from broker.base.errors import InvalidArgument, Unavailable
from broker.base.instants import Millis
from broker.transport.settings import MeshSettings, TlsSettings
from broker.transport.tls import accepting_context, dialling_context
from tests.integration.transport.loopback_mesh import A, B, Loopback, introduce, pieces_of
from tests.integration.transport.raw_peer import RawPeer
from tests.integration.transport.warnings_of_nodes import Warned

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command makes the certificates")


class Authority:
    """A certificate authority that lives as long as the tests of this module."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        openssl(
            "req", "-x509", *new_key(self._key), "-subj", f"/CN={name}", "-days", "2", "-out", str(self.certificate)
        )

    def issue(self, node: str, *names: str) -> TlsSettings:
        """A certificate for ``node`` with these DNS names."""
        stem = self._folder / f"{self._name}-{node}"
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        certificate, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        openssl("req", "-new", *new_key(key), "-subj", "/O=threefold", "-out", str(request))
        extensions.write_text(f"subjectAltName={','.join(f'DNS:{name}' for name in names)}\n")
        signing = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", str(request), *signing, "-extfile", str(extensions), "-out", str(certificate))
        return TlsSettings(str(certificate), str(key), str(self.certificate))


def new_key(path: Path) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path))


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Certificates:
    """What the tests present."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
        self.a = ours.issue(A, A)
        self.b = ours.issue(B, "b-0.broker.default.svc", "localhost")
        self.nobody = ours.issue("nobody", "x-9")
        self.foreign = theirs.issue(A, A)
        self.foreign_that_trusts_us = TlsSettings(self.foreign.certificate, self.foreign.key, str(ours.certificate))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def secured(tls: TlsSettings) -> MeshSettings:
    return MeshSettings(tls=tls, handshake_timeout=Millis(1_000))


async def test_frames_and_transfers_go_over_mutual_tls(certificates: Certificates) -> None:
    async with Loopback() as loopback:
        a, b = [
            await loopback.start(A, secured(certificates.a)),
            await loopback.start(B, secured(certificates.b)),
        ]
        introduce([a, b])
        await a.notes.until_event("up", B)
        await b.notes.until_event("up", A)
        large = bytes(range(256)) * 8_192
        assert a.mesh.send(B, large)
        assert b.mesh.send(A, b"small")
        await b.notes.until(lambda: b.notes.received == [(A, large)])
        await a.notes.until(lambda: a.notes.received == [(B, b"small")])
        await b.mesh.send_bulk(A, b"snapshot", pieces_of(large, large))
        assert a.notes.bulk == [(B, b"snapshot", large + large)]
        await a.mesh.close()
        await b.notes.until_event("down", A, True)


async def test_a_killed_peer_is_closed_by_peer_over_tls_too(certificates: Certificates) -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B, secured(certificates.b))
        node.mesh.set_peers({A: "127.0.0.1:1"})
        peer = await RawPeer.introduced(node, A, tls=certificates.a)
        await node.notes.until_event("up", A)
        peer.die()
        await node.notes.until_event("down", A, True)


@pytest.mark.parametrize("presented", ["foreign", "foreign_that_trusts_us"])
async def test_a_certificate_of_another_authority_is_refused(
    certificates: Certificates, presented: str, warned: Warned
) -> None:
    async with Loopback() as loopback:
        stranger = await loopback.start(A, secured(getattr(certificates, presented)))
        node = await loopback.start(B, secured(certificates.b))
        introduce([stranger, node])
        await warned.until(
            A, "CERTIFICATE" if presented == "foreign" else "before the handshake was done: the log of b-0 says why"
        )
        await warned.until(B, "TLS")
        with pytest.raises(Unavailable):
            await stranger.mesh.send_bulk(B, b"", pieces_of())
        assert stranger.notes.events == node.notes.events == []


async def test_a_certificate_that_does_not_name_the_node_is_refused(certificates: Certificates, warned: Warned) -> None:
    async with Loopback() as loopback:
        nameless = await loopback.start(A, secured(certificates.nobody))
        node = await loopback.start(B, secured(certificates.b))
        introduce([nameless, node])
        await warned.until(A, "b-0 refused this node, wrong-certificate: the certificate of a-0 does not name it")
        await warned.until(B, "wrong-certificate")
        assert nameless.notes.events == node.notes.events == []


async def test_the_dialling_side_checks_the_name_too(certificates: Certificates, warned: Warned) -> None:
    async with Loopback() as loopback:
        a = await loopback.start(A, secured(certificates.a))
        nameless = await loopback.start(B, secured(certificates.nobody))
        introduce([a, nameless])
        await warned.until(A, "this node refused b-0, wrong-certificate")
        assert a.notes.events == nameless.notes.events == []


async def test_names_need_not_match_where_that_is_configured(certificates: Certificates) -> None:
    async with Loopback() as loopback:
        unnamed = TlsSettings(
            certificates.nobody.certificate, certificates.nobody.key, certificates.nobody.authority, names_node=False
        )
        nodes = [await loopback.start(name, secured(unnamed)) for name in (A, B)]
        introduce(nodes)
        await nodes[0].notes.until_event("up", B)


async def test_strangers_that_never_begin_the_handshake_are_bounded_and_the_oldest_makes_room(
    certificates: Certificates, warned: Warned
) -> None:
    async with Loopback() as loopback:
        settings = msgspec.structs.replace(secured(certificates.b), max_strangers=3, handshake_timeout=Millis(60_000))
        node = await loopback.start(B, settings)
        strangers = [await RawPeer.connect(node) for _ in range(4)]
        await strangers[0].until_closed()
        await warned.until(B, "more than 3 connections wait for their handshake")
        other = await loopback.start(A, secured(certificates.a))
        introduce([node, other])
        await other.notes.until_event("up", B)
        for stranger in strangers:
            await stranger.close()


async def test_a_node_without_tls_gets_nowhere(certificates: Certificates, warned: Warned) -> None:
    async with Loopback() as loopback:
        plain = await loopback.start(A)
        node = await loopback.start(B, secured(certificates.b))
        introduce([plain, node])
        await warned.until(A, "closed")
        await warned.until(B, "no TLS handshake")
        assert plain.notes.events == node.notes.events == []


@pytest.mark.parametrize("wrong", ["certificate", "key", "authority"])
@pytest.mark.parametrize("context", [dialling_context, accepting_context])
def test_files_that_cannot_be_used_are_found_at_once(
    certificates: Certificates, wrong: str, context: Callable[[TlsSettings], ssl.SSLContext]
) -> None:
    settings = msgspec.structs.replace(certificates.a, **{wrong: "/nonexistent.pem"})
    with pytest.raises(InvalidArgument, match=f"{wrong} /nonexistent.pem.*No such file"):
        context(settings)


def test_a_key_of_another_certificate_is_found_at_once(certificates: Certificates) -> None:
    settings = msgspec.structs.replace(certificates.a, key=certificates.b.key)
    with pytest.raises(InvalidArgument, match="the key must belong to the certificate"):
        dialling_context(settings)

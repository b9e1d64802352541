"""Mutual TLS between nodes: both sides show a certificate of the cluster's own authority."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from broker.base.errors import InvalidArgument
from broker.transport.settings import TlsSettings


def dialling_context(settings: TlsSettings) -> ssl.SSLContext:
    """Raises InvalidArgument if a file is missing or not what it should be."""
    return _context(settings, ssl.PROTOCOL_TLS_CLIENT)


def accepting_context(settings: TlsSettings) -> ssl.SSLContext:
    """Raises InvalidArgument if a file is missing or not what it should be."""
    return _context(settings, ssl.PROTOCOL_TLS_SERVER)


def certified_nodes(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Node ids that a certificate speaks for, as ``SSLObject.getpeercert`` tells it: its DNS names, the first labels of
    these (``a-0`` of ``a-0.broker.default.svc``), and its common names. Wildcards speak for nobody."""
    if not certificate:
        return frozenset()
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    names |= {value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"}
    names |= {name.split(".", 1)[0] for name in names}
    return frozenset(name for name in names if "*" not in name)


def _context(settings: TlsSettings, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Addresses change, node ids do not: the handshake compares the certificate with the node id instead.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        context.load_verify_locations(settings.authority)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidArgument(
            f"TLS between nodes cannot be set up from certificate {settings.certificate}, key {settings.key} and "
            f"authority {settings.authority}: {error}; each must be a readable PEM file, and the key must belong to "
            "the certificate"
        ) from error
    return context

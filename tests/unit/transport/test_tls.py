"""Which nodes a certificate speaks for."""

from __future__ import annotations

from broker.transport.tls import certified_nodes


def test_dns_names_their_first_labels_and_common_names_count() -> None:
    certificate = {
        "subject": ((("organizationName", "x-0"),), (("commonName", "a-1"),)),
        "subjectAltName": (("DNS", "a-0.broker.default.svc"), ("IP Address", "10.0.0.1")),
    }
    assert certified_nodes(certificate) == {"a-0.broker.default.svc", "a-0", "a-1"}


def test_wildcards_speak_for_nobody() -> None:
    assert certified_nodes({"subjectAltName": (("DNS", "*.broker.default.svc"), ("DNS", "*"))}) == frozenset()


def test_no_certificate_speaks_for_nobody() -> None:
    assert certified_nodes(None) == frozenset()
    assert certified_nodes({}) == frozenset()

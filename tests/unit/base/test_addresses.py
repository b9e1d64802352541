"""Addresses of nodes."""

from __future__ import annotations

import pytest

from broker.base.addresses import is_loopback, split_address
from broker.base.errors import InvalidArgument


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("10.0.0.1:7400", ("10.0.0.1", 7400)),
        ("a-0.broker.default.svc:7400", ("a-0.broker.default.svc", 7400)),
        ("[::1]:7400", ("::1", 7400)),
    ],
)
def test_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:",
        ":7400",
        "host:x",
        "host:0",
        "host:65536",
        "host:-1",
        "host:²",
        "a b:1",
        "http://host:1",
        "::1:80",
    ],
)
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(InvalidArgument, match="is not an address: write host:port"):
        split_address(address)


def test_port_0_is_an_address_only_where_any_free_port_will_do() -> None:
    assert split_address("127.0.0.1:0", lowest_port=0) == ("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("127.0.0.1:1", True),
        ("127.9.0.1:0", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("broker-a-0:1", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, holds: bool) -> None:
    assert is_loopback(address) is holds

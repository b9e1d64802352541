"""Reading node addresses."""

from __future__ import annotations

import pytest

from broker.base.errors import InvalidArgument
from broker.client.channels import parse_addresses


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1:4001", ["127.0.0.1:4001"]),
        ("a:1, b:2 ,a:1,", ["a:1", "b:2"]),
        ("localhost", ["localhost:4001"]),
        ("[::1]:4001", ["[::1]:4001"]),
        ("[::1]", ["[::1]:4001"]),
        (["x:1", "y:2"], ["x:1", "y:2"]),
    ],
)
def test_addresses(given: str | list[str], expected: list[str]) -> None:
    assert parse_addresses(given) == expected


@pytest.mark.parametrize("given", ["", " , ", "host:port", "host:0", "host:65536", ":4001", "http://host:1", "a b:1"])
def test_what_is_no_address_is_named(given: str) -> None:
    with pytest.raises(InvalidArgument, match=r"host:port|names no node"):
        parse_addresses(given)

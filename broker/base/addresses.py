"""Network addresses as people write them: ``host:port``, an IPv6 address in brackets."""

from __future__ import annotations

import re
from ipaddress import ip_address

from broker.base.errors import InvalidArgument

_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.%]+)\]|([^\s:/@\[\]]+)):(\d{1,5})", re.ASCII)
HIGHEST_PORT = 65_535


def split_address(address: str, lowest_port: int = 1) -> tuple[str, int]:
    """Host, without brackets, and port. ``lowest_port`` 0 allows "any free port". Raises InvalidArgument."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not lowest_port <= int(match[3]) <= HIGHEST_PORT:
        raise InvalidArgument(
            f"{address!r} is not an address: write host:port, such as 127.0.0.1:4001, with a port of "
            f"{lowest_port}-{HIGHEST_PORT}"
        )
    return match[1] or match[2], int(match[3])


def is_loopback(address: str) -> bool:
    """Whether only processes of this machine reach it. A name other than localhost may be anybody's. Raises
    InvalidArgument."""
    host, _ = split_address(address, lowest_port=0)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

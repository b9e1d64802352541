"""Which nodes a cluster on this machine has, and on which ports. Pure: makes settings, starts and writes nothing.

Node k (from 0) listens for clients on the base port + k, for its peers on + 100 + k, serves metrics on + 200 + k, and
speaks the protocols of AWS on + 565 + k: with the default base port 4566, which is what their tools expect.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Literal

from broker.base.errors import InvalidArgument
from broker.node.settings import NodeSettings, PeerSettings

HOST = "127.0.0.1"
BASE_PORT = 4001
PEER_OFFSET = 100
ADMIN_OFFSET = 200
AWS_OFFSET = 565
MAX_NODES = PEER_OFFSET
DEFAULT_CLUSTER = ",".join(f"{HOST}:{BASE_PORT + number}" for number in range(3))
"""What commands talk to unless they are told: the cluster of three that `broker cluster` starts."""


def lay_out(
    zones: int, nodes: int, data: Path, base_port: int, groups: int, fsync: Literal["thread", "loop"]
) -> list[NodeSettings]:
    """Node k lives in zone k modulo ``zones``. Raises InvalidArgument for a cluster that cannot be."""
    if not 1 <= zones <= len(string.ascii_lowercase):
        raise InvalidArgument(f"--zones is {zones}; it must be from 1 to {len(string.ascii_lowercase)}")
    if not zones <= nodes <= MAX_NODES:
        raise InvalidArgument(f"--nodes is {nodes}; it must be from {zones}, one per zone, to {MAX_NODES}")
    if not 1 <= base_port <= 65_535 - AWS_OFFSET - nodes:
        raise InvalidArgument(
            f"--base-port is {base_port}; it must be from 1 to {65_535 - AWS_OFFSET - nodes}, as ports up to "
            f"{AWS_OFFSET} above it are used too"
        )
    peers = tuple(_peer(number, zones, base_port) for number in range(nodes))
    return [
        NodeSettings(
            node=peer.id,
            zone=peer.zone,
            development=True,
            data_dir=str(data / peer.id / "data"),
            client_listen=peer.client_address,
            peer_listen=peer.peer_address,
            admin_listen=peer.admin_address,
            aws_listen=f"{HOST}:{base_port + AWS_OFFSET + number}",
            advertise_client=peer.client_address,
            advertise_peer=peer.peer_address,
            groups=groups,
            fsync=fsync,
            peers=peers,
        )
        for number, peer in enumerate(peers)
    ]


def _peer(number: int, zones: int, base_port: int) -> PeerSettings:
    zone = string.ascii_lowercase[number % zones]
    return PeerSettings(
        id=f"{zone}-{number // zones}",
        zone=zone,
        peer_address=f"{HOST}:{base_port + PEER_OFFSET + number}",
        client_address=f"{HOST}:{base_port + number}",
        admin_address=f"{HOST}:{base_port + ADMIN_OFFSET + number}",
    )

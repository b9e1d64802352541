"""A node's configuration: one TOML file, the environment (``BROKER_<KEY>``), then flags; the last one wins.

The same file can serve every node of a cluster: what differs (node, zone, addresses) comes from the environment, as
Kubernetes likes it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from broker.base.addresses import is_loopback, split_address
from broker.base.errors import InvalidArgument
from broker.base.ids import NodeId, Zone
from broker.base.limits import DEFAULT_DATA_GROUPS, MIB
from broker.base.names import check_name
from broker.domain.directory.commands import Node

ENVIRONMENT_PREFIX = "BROKER_"


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A founding node of the cluster, as every node must know it to find the others. Addresses are host:port."""

    id: str
    zone: str
    peer_address: str
    client_address: str
    admin_address: str = ""


class NodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``peers`` lists all founding nodes, this one included, and is the same on all of them. Listen addresses with
    port 0 take a free port. Empty ``advertise_*``: what ``peers`` says of this node."""

    node: str
    zone: str
    cluster: str = "threefold"
    development: bool = False
    """The AWS port takes any credentials and checks nothing."""
    data_dir: str = ".broker/data"
    client_listen: str = "127.0.0.1:4001"
    peer_listen: str = "127.0.0.1:4101"
    admin_listen: str = "127.0.0.1:4201"
    aws_listen: str = "127.0.0.1:4566"
    """The protocols of AWS. Empty: not spoken."""
    aws_public_url: str = ""
    """Under which clients reach the AWS port, for the URLs in answers. Empty: as each request says."""
    aws_account: str = "000000000000"
    aws_region: str = "us-east-1"
    """Whose queues have plain names, those that other clients see."""
    advertise_client: str = ""
    advertise_peer: str = ""
    advertise_admin: str = ""
    join: str = ""
    """Client addresses of nodes of a running cluster, host:port,..., which this node joins unless it is among peers."""
    replace_dead_after_ms: int = 300_000
    """Replicas of a node that does not answer for so long go to others of its zone, if there are any. 0: never."""
    groups: int = DEFAULT_DATA_GROUPS
    fsync: Literal["thread", "loop"] = "thread"
    peers: tuple[PeerSettings, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "human", "json", "logfmt"] = "auto"
    segment_bytes: int = 64 * 1024 * 1024
    cache_bytes: int = 64 * 1024 * 1024
    snapshot_after_bytes: int = 64 * 1024 * 1024
    snapshot_after_entries: int = 50_000
    disk_reserve_percent: int = 5
    disk_reserve_bytes: int = 0
    """With less than so much of its file system free, or less than so many bytes, the node takes no more messages."""
    disk_slow_ms: int = 100
    """A disk whose syncs take so long again and again does not lead while others can."""
    transfer_bytes_per_second: int = 16 * 1024 * 1024
    """How fast a snapshot travels to a node that was away for long."""
    heartbeat_ms: int = 100
    election_timeout_ms: int = 700
    """A follower that hears nothing stands after a random time between this and 12/7 of it."""
    lease_reads: bool = False
    drain_ms: int = 5_000
    """How long a stopping node tries to hand its leaderships over."""
    send_target_ms: int = 250
    """Sends that take longer make the node take on fewer at once."""
    client_connections: int = 12_000
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    """All three or none: mutual TLS between nodes, and TLS for clients."""

    def this_peer(self) -> PeerSettings:
        """This node among the founders; a node started alone founds a cluster of one."""
        for peer in self.peers:
            if peer.id == self.node:
                return peer
        return PeerSettings(
            self.node,
            self.zone,
            self.advertise_peer or self.peer_listen,
            self.advertise_client or self.client_listen,
            self.advertise_admin or self.admin_listen,
        )

    @property
    def joins(self) -> bool:
        """Whether this node comes to a cluster that others have founded."""
        return bool(self.join) and all(peer.id != self.node for peer in self.peers)

    def this_node(self) -> Node:
        """This node as it should stand in the directory."""
        peer = self.this_peer()
        return Node(NodeId(peer.id), Zone(peer.zone), peer.peer_address, peer.client_address, peer.admin_address)

    def founders(self) -> tuple[PeerSettings, ...]:
        return self.peers or (self.this_peer(),)


def load(
    path: Path | None, overrides: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> NodeSettings:
    """Raises InvalidArgument, naming the key, the value and where it came from."""
    values: dict[str, Any] = {}
    if path is not None:
        values = _read(path)
    for name, text in (environment or {}).items():
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name.startswith(ENVIRONMENT_PREFIX) and key in NodeSettings.__struct_fields__ and key != "peers":
            values[key] = text
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    try:
        settings = msgspec.convert(values, NodeSettings, strict=False)
    except msgspec.ValidationError as error:
        source = path or "the given settings"
        raise InvalidArgument(f"{source}: {error}; known keys: {', '.join(NodeSettings.__struct_fields__)}") from None
    _check(settings)
    return settings


def exposures(settings: NodeSettings) -> list[str]:
    """What is wrong with how clients reach this node, in sentences, where they are not only those of this machine."""
    open_to_others = [
        address for address in (settings.client_listen, settings.aws_listen) if address and not is_loopback(address)
    ]
    found = []
    if open_to_others and settings.development:
        found.append("development mode takes any credentials, and other machines can reach this node")
    if open_to_others and not settings.tls_key:
        found.append(
            "clients of other machines talk to this node in plain text; set tls_certificate, tls_key and tls_ca"
        )
    return found


def dump(settings: NodeSettings) -> str:
    """The settings as a TOML text that ``load`` reads back."""
    lines = [f"{name} = {_toml(getattr(settings, name))}" for name in settings.__struct_fields__ if name != "peers"]
    for peer in settings.peers:
        lines += ["", "[[peers]]", *(f"{name} = {_toml(getattr(peer, name))}" for name in peer.__struct_fields__)]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is not valid TOML: {error}") from None


def _check(settings: NodeSettings) -> None:
    for what, name in (("node", settings.node), ("zone", settings.zone), ("cluster", settings.cluster)):
        check_name(what, name)
    for address in (settings.client_listen, settings.peer_listen, settings.admin_listen):
        split_address(address, lowest_port=0)
    _check_aws(settings)
    for peer in settings.peers:
        split_address(peer.peer_address)
        split_address(peer.client_address)
    ids = [peer.id for peer in settings.peers]
    if len(set(ids)) != len(ids):
        raise InvalidArgument(f"peers names a node twice: {', '.join(sorted(ids))}")
    if ids and settings.node not in ids and not settings.join:
        raise InvalidArgument(
            f"node {settings.node!r} is not among peers ({', '.join(ids)}): add it there, or have it join with --join"
        )
    if settings.this_peer().zone != settings.zone:
        raise InvalidArgument(
            f"node {settings.node!r} has zone {settings.zone!r}, but peers says {settings.this_peer().zone!r}"
        )
    if not 1 <= settings.groups <= 1000:
        raise InvalidArgument(f"groups is {settings.groups}; it must be 1-1000")
    if settings.transfer_bytes_per_second < MIB:
        raise InvalidArgument(
            f"transfer_bytes_per_second is {settings.transfer_bytes_per_second}; it must be {MIB} or more"
        )
    if settings.send_target_ms < 1 or settings.client_connections < 1:
        raise InvalidArgument(
            f"send_target_ms is {settings.send_target_ms} and client_connections {settings.client_connections}; both "
            "must be 1 or more"
        )
    _check_disk(settings)
    tls = (settings.tls_certificate, settings.tls_key, settings.tls_ca)
    if any(tls) and not all(tls):
        raise InvalidArgument("tls_certificate, tls_key and tls_ca belong together: set all three or none")
    if not 20 <= settings.heartbeat_ms <= settings.election_timeout_ms // 3:
        raise InvalidArgument(
            f"heartbeat_ms is {settings.heartbeat_ms}; it must be 20 to a third of election_timeout_ms "
            f"({settings.election_timeout_ms})"
        )


def _check_aws(settings: NodeSettings) -> None:
    if settings.aws_listen:
        split_address(settings.aws_listen, lowest_port=0)
    if re.fullmatch(r"[0-9]{12}", settings.aws_account) is None:
        raise InvalidArgument(f"aws_account is {settings.aws_account!r}; it must be 12 digits, in quotes")
    if re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", settings.aws_region) is None:
        raise InvalidArgument(f"aws_region is {settings.aws_region!r}; it must look like us-east-1")
    if settings.aws_public_url and re.fullmatch(r"https?://[^\s/?#]+/?", settings.aws_public_url) is None:
        raise InvalidArgument(
            f"aws_public_url is {settings.aws_public_url!r}; it must look like http://queues.example.org:4566"
        )


def _check_disk(settings: NodeSettings) -> None:
    if not 0 <= settings.disk_reserve_percent <= 90:
        raise InvalidArgument(f"disk_reserve_percent is {settings.disk_reserve_percent}; it must be 0-90")
    if settings.disk_reserve_bytes < 0:
        raise InvalidArgument(f"disk_reserve_bytes is {settings.disk_reserve_bytes}; it must be 0 or more")
    if settings.disk_slow_ms < 2:
        raise InvalidArgument(f"disk_slow_ms is {settings.disk_slow_ms}; it must be 2 or more")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

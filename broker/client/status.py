"""The cluster as its nodes describe it: nodes, zones, groups, leaders, lag; and handing leadership over."""

from __future__ import annotations

import msgspec

from broker.pb.cluster.v1 import cluster_pb2


class NodeStatus(msgspec.Struct, frozen=True):
    """``uptime`` in seconds; ``leads``, ``replicas``: how many groups, and replicas; ``duty``: "active", "draining" or
    "leaving"; ``trouble``: what is wrong with it, in sentences."""

    id: str
    zone: str
    client_address: str
    admin_address: str
    reachable: bool
    version: str
    uptime: float
    leads: int
    duty: str
    replicas: int
    trouble: tuple[str, ...]


class ReplicaStatus(msgspec.Struct, frozen=True):
    """``matched``: log index known to be durable there; ``lag``: entries behind the leader's last;
    ``missing``: the node answers and does not have it, and will be given it anew."""

    node: str
    matched: int
    lag: int
    missing: bool


class GroupStatus(msgspec.Struct, frozen=True):
    """``leader`` is empty while none is known; ``change``: what is happening to its replicas, in words, or empty."""

    id: int
    leader: str
    term: int
    commit: int
    last: int
    snapshot: int
    replicas: tuple[ReplicaStatus, ...]
    resources: int
    change: str


class ClusterStatus(msgspec.Struct, frozen=True):
    cluster: str
    answered_by: str
    nodes: tuple[NodeStatus, ...]
    groups: tuple[GroupStatus, ...]


class Member(msgspec.Struct, frozen=True):
    """A node as others must know it. Addresses are ``host:port``."""

    id: str
    zone: str
    peer_address: str
    client_address: str
    admin_address: str = ""


class JoinedCluster(msgspec.Struct, frozen=True):
    """``nodes``: all of them, the new one included."""

    cluster: str
    nodes: tuple[Member, ...]


class HandedOver(msgspec.Struct, frozen=True):
    """Numbers of groups whose leadership moved, and stayed."""

    handed_over: int
    kept: int


def status_of(response: cluster_pb2.GetStatusResponse) -> ClusterStatus:
    return ClusterStatus(
        response.cluster,
        response.answered_by,
        tuple(_node(node) for node in response.nodes),
        tuple(_group(group) for group in response.groups),
    )


def _node(node: cluster_pb2.Node) -> NodeStatus:
    return NodeStatus(
        node.id,
        node.zone,
        node.client_address,
        node.admin_address,
        node.reachable,
        node.version,
        node.uptime_ms / 1000,
        node.leads,
        node.duty or "active",
        node.replicas,
        tuple(node.trouble),
    )


def _group(group: cluster_pb2.Group) -> GroupStatus:
    return GroupStatus(
        group.id,
        group.leader,
        group.term,
        group.commit,
        group.last,
        group.snapshot,
        tuple(ReplicaStatus(replica.node, replica.matched, replica.lag, replica.missing) for replica in group.replicas),
        group.resources,
        group.change,
    )

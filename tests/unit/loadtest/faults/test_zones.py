"""When a cluster is whole: all nodes answer, every group is led, and no replica is missing or far behind."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import pytest

from broker.client.status import ClusterStatus, GroupStatus, NodeStatus, ReplicaStatus
from loadtest.faults.zones import lacks

NODES = ("a-0", "b-0", "c-0")
Made = TypeVar("Made", bound=msgspec.Struct)


def made(kind: type[Made], **known: object) -> Made:
    """What is not told is empty: what else a status has does not matter here."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return kind(**{name: known[name] if name in known else empty() for name, empty in fields.items()})


def replica(node: str, lag: int = 0) -> ReplicaStatus:
    return made(ReplicaStatus, node=node, lag=lag)


WHOLE = made(
    ClusterStatus,
    nodes=tuple(made(NodeStatus, id=node, reachable=True) for node in NODES),
    groups=tuple(
        made(GroupStatus, id=group, leader=NODES[group], replicas=tuple(map(replica, NODES))) for group in range(3)
    ),
)


def with_group(**changes: object) -> ClusterStatus:
    first, *others = WHOLE.groups
    return msgspec.structs.replace(WHOLE, groups=(msgspec.structs.replace(first, **changes), *others))


def with_node(**changes: object) -> ClusterStatus:
    first, *others = WHOLE.nodes
    return msgspec.structs.replace(WHOLE, nodes=(msgspec.structs.replace(first, **changes), *others))


def test_a_whole_cluster_lacks_nothing() -> None:
    assert lacks(WHOLE, 3) == ""


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (with_node(reachable=False), "a-0"),
        (msgspec.structs.replace(WHOLE, nodes=WHOLE.nodes[:2]), "nodes"),
        (with_group(leader=""), "leader of group 0"),
        (with_group(change="a-1 joins"), "a-1 joins"),
        (
            with_group(replicas=(made(ReplicaStatus, node="a-0", missing=True), replica("b-0"), replica("c-0"))),
            "on node a-0",
        ),
        (with_group(replicas=WHOLE.groups[0].replicas[:2]), "replicas of group 0"),
        (with_group(replicas=(*WHOLE.groups[0].replicas[:2], replica("c-0", 5_000))), "5000 behind"),
    ],
)
def test_what_it_lacks_is_named(status: ClusterStatus, word: str) -> None:
    assert word in lacks(status, 3)

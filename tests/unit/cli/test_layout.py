"""Which nodes, zones and ports a cluster on this machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.base.errors import InvalidArgument
from broker.cli.layout import lay_out
from broker.node.settings import NodeSettings, dump, load


def laid_out(zones: int = 3, nodes: int = 3, base_port: int = 4001) -> list[NodeSettings]:
    return lay_out(zones, nodes, Path("data"), base_port, groups=12, fsync="thread")


def test_three_zones_have_a_node_each_on_the_usual_ports() -> None:
    nodes = laid_out()
    assert [(node.node, node.zone, node.client_listen, node.peer_listen, node.admin_listen) for node in nodes] == [
        ("a-0", "a", "127.0.0.1:4001", "127.0.0.1:4101", "127.0.0.1:4201"),
        ("b-0", "b", "127.0.0.1:4002", "127.0.0.1:4102", "127.0.0.1:4202"),
        ("c-0", "c", "127.0.0.1:4003", "127.0.0.1:4103", "127.0.0.1:4203"),
    ]
    assert all(node.development for node in nodes)
    assert [node.aws_listen for node in nodes] == ["127.0.0.1:4566", "127.0.0.1:4567", "127.0.0.1:4568"]
    assert [node.data_dir for node in nodes] == ["data/a-0/data", "data/b-0/data", "data/c-0/data"]


def test_more_nodes_than_zones_are_spread_evenly_and_know_one_another() -> None:
    nodes = laid_out(zones=2, nodes=5)
    assert [(node.node, node.zone) for node in nodes] == [
        ("a-0", "a"),
        ("b-0", "b"),
        ("a-1", "a"),
        ("b-1", "b"),
        ("a-2", "a"),
    ]
    assert {node.peers for node in nodes} == {nodes[0].peers}
    assert all(node.this_peer().client_address == node.client_listen for node in nodes)


def test_what_is_written_is_what_a_node_loads(tmp_path: Path) -> None:
    for node in laid_out():
        path = tmp_path / f"{node.node}.toml"
        path.write_text(dump(node))
        assert load(path) == node


@pytest.mark.parametrize(
    ("zones", "nodes", "base_port", "said"),
    [
        (0, 1, 4001, "--zones is 0"),
        (27, 27, 4001, "--zones is 27"),
        (3, 2, 4001, "--nodes is 2; it must be from 3"),
        (3, 101, 4001, "--nodes is 101"),
        (3, 3, 0, "--base-port is 0"),
        (3, 3, 65_400, "--base-port is 65400"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(zones: int, nodes: int, base_port: int, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        laid_out(zones, nodes, base_port)

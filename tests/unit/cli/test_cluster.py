"""What `broker cluster` checks and writes before it starts anything."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from broker.base.errors import InvalidArgument
from broker.cli.cluster import panel, prepare, refuse_busy_ports
from broker.cli.layout import lay_out
from broker.node.settings import NodeSettings, load


def one_node(data: Path, base_port: int = 4001) -> NodeSettings:
    return lay_out(1, 1, data, base_port, groups=1, fsync="loop")[0]


def test_a_nodes_configuration_is_there_to_be_read(tmp_path: Path) -> None:
    # given a node
    settings = one_node(tmp_path)

    # when it is prepared
    child = prepare(settings, tmp_path)

    # then its file says all of it, and its process reads that file
    config = tmp_path / "a-0" / "node.toml"
    assert load(config) == settings
    assert str(config) in child.command
    assert child.log == tmp_path / "a-0" / "log"


def test_the_data_of_another_cluster_is_left_alone(tmp_path: Path) -> None:
    prepare(one_node(tmp_path), tmp_path)
    prepare(one_node(tmp_path), tmp_path)
    with pytest.raises(InvalidArgument, match=r"holds a cluster of other nodes .*choose another --data"):
        prepare(lay_out(3, 3, tmp_path, 4001, groups=1, fsync="loop")[0], tmp_path)
    assert load(tmp_path / "a-0" / "node.toml") == one_node(tmp_path)


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # given a base port whose admin port is taken
        port = taken.getsockname()[1]
        settings = one_node(tmp_path, base_port=port - 200)
        with pytest.raises(InvalidArgument, match=rf"something listens on .*127\.0\.0\.1:{port} already.*--base-port"):
            refuse_busy_ports([settings])


def test_the_panel_has_commands_for_this_cluster(tmp_path: Path) -> None:
    def shown(base_port: int) -> str:
        console = Console(file=io.StringIO(), width=80)
        console.print(panel(lay_out(3, 3, tmp_path, base_port, groups=1, fsync="loop"), "ready"))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "broker queue create orders " in shown(4001)
    assert "BROKER_SERVERS" not in shown(4001)
    assert "export BROKER_SERVERS=127.0.0.1:5001 " in shown(5001)
    assert "http://127.0.0.1:5201/metrics" in shown(5001)

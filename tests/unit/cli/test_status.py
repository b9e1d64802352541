"""`broker status` and `broker handover`."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from broker.__main__ import build
from tests.unit.cli.broker_thread import serving


def test_status_shows_nodes_and_groups() -> None:
    with serving(3) as cluster:
        arguments = ("status", "--cluster", cluster.addresses)
        result = CliRunner().invoke(build(arguments), arguments, env={"COLUMNS": "80"})
        assert result.exit_code == 0
        assert "cluster fake: 3 of 3 nodes reachable, 1 of 1 groups have a leader" in result.stdout
        for node in cluster.nodes:
            (row,) = [line for line in result.stdout.splitlines() if line.startswith(node.name)]
            assert node.address in row
            assert "1 min 1 s" in row
        assert "a-0 0, b-0 0, c-0 0" in result.stdout


def test_status_as_json_is_complete() -> None:
    with serving(3) as cluster:
        # the address comes from the environment as well
        arguments = ("status", "--json")
        result = CliRunner().invoke(build(arguments), arguments, env={"BROKER_SERVERS": cluster.addresses})
        status = json.loads(result.stdout)
        assert [node["id"] for node in status["nodes"]] == ["a-0", "b-0", "c-0"]
        assert status["groups"][0]["replicas"][1] == {
            "node": "b-0",
            "matched": 10,
            "lag": 0,
            "missing": False,
        }


def test_handover_names_the_node_and_what_moved() -> None:
    with serving(3) as cluster:
        arguments = ("handover", "c-0", "--cluster", cluster.addresses)
        result = CliRunner().invoke(build(arguments), arguments)
        assert result.exit_code == 0
        assert "c-0 handed over 4 of 4 leaderships" in result.stderr
        assert cluster.handed_over == ["c-0"]

"""`broker cluster drain` and its like: what is asked, what is said, and when the command ends."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from broker.__main__ import build
from broker.base.errors import Conflict
from broker.cli import members
from tests.unit.cli.broker_thread import serving


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "POLL_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("arguments", "wish", "said"),
    [
        (("drain", "a-0"), "a-0 draining", "a-0 has no replicas"),
        (("resume", "a-0"), "a-0 active", "a-0 takes replicas again"),
        (("remove", "b-0"), "b-0 leaving", "b-0 has left the cluster"),
        (("replace", "b-0", "b-1"), "b-0 leaving b-1", "b-1 has taken the place of b-0"),
        (("move", "7", "--from", "a-0", "--to", "a-1"), "move 7 a-0 a-1", "group 7 has its replica on a-1"),
        (("transfer-leader", "7", "--to", "c-0"), "lead 7 c-0", "c-0 leads group 7"),
        (("add-groups", "2"), "groups 2", "the cluster has 2 data groups"),
    ],
)
def test_a_command_asks_and_ends_when_it_is_so(arguments: tuple[str, ...], wish: str, said: str) -> None:
    with serving(3) as cluster:
        result = CliRunner().invoke(build(("cluster",)), ("cluster", *arguments, "--cluster", cluster.addresses))
        assert result.exit_code == 0, result.stderr
        assert cluster.members.wishes == [wish]
        assert said in result.stderr


def test_what_moves_is_told_while_it_does() -> None:
    with serving(3) as cluster:
        cluster.members.finishes = False
        result = CliRunner().invoke(build(("cluster",)), ("cluster", "drain", "a-0", "--cluster", cluster.addresses))
        assert "group 7: a-0 -> a-1: a-0 is draining" in result.stderr


def test_balancing_goes_on_until_the_nodes_are_even() -> None:
    with serving(3) as cluster:
        cluster.members.balancing = ["group 7: a-0 -> a-1 (3, 0)", "group 7: b-0 -> b-1 (3, 0)"]
        result = CliRunner().invoke(build(("cluster",)), ("cluster", "balance", "--cluster", cluster.addresses))
        assert result.exit_code == 0
        assert cluster.members.wishes == ["balance"] * 3
        assert "group 7: b-0 -> b-1 (3, 0)" in result.stderr
        assert "the nodes are even after 2 moves: a-0 1, b-0 1, c-0 1" in result.stderr


def test_a_refusal_is_said_in_one_line() -> None:
    with serving(3) as cluster:
        result = CliRunner().invoke(build(("cluster",)), ("cluster", "drain", "z-9", "--cluster", cluster.addresses))
        assert result.exit_code == 1
        assert "error: no node 'z-9' in this cluster" in result.stderr


def test_trouble_is_shown_in_the_status() -> None:
    with serving(3) as cluster:
        cluster.members.trouble["b-0"] = ["the disk is full"]
        result = CliRunner().invoke(build(("status",)), ("status", "--cluster", cluster.addresses))
        assert "b-0: the disk is full" in result.stdout


def test_a_conflict_is_waited_out_by_balancing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "CALL_SECONDS", 0.05)
    with serving(3) as cluster:
        cluster.members.refusals = [Conflict("a replica of group 7 is on its way")] * 3
        result = CliRunner().invoke(build(("cluster",)), ("cluster", "balance", "--cluster", cluster.addresses))
        assert result.exit_code == 0
        assert "the nodes are even after 0 moves" in result.stderr

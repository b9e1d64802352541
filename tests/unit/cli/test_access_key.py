"""`broker access-key`: what a user sees, and that the secret is written once."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.broker_thread import serving
from tests.unit.cli.commands import broker

ACCOUNT = ("--account", "123456789012")


def test_a_new_key_is_written_for_a_shell_and_its_secret_once() -> None:
    with serving() as cluster:
        made = broker("access-key", "create", *ACCOUNT, "--user", "alice", "--cluster", cluster.addresses)
        assert made.exit_code == 0
        assert made.stdout == ("export AWS_ACCESS_KEY_ID=AKIAFAKE0\nexport AWS_SECRET_ACCESS_KEY=secret-of-AKIAFAKE0\n")
        assert "access key AKIAFAKE0 of account 123456789012, user alice" in made.stderr
        assert "secret-of" not in made.stderr
        listed = broker("access-key", "list", "--cluster", cluster.addresses)
        assert "secret-of" not in listed.stdout + listed.stderr


def test_a_new_key_as_json() -> None:
    with serving() as cluster:
        made = broker("access-key", "create", *ACCOUNT, "--json", "--cluster", cluster.addresses)
        told = json.loads(made.stdout)
        assert (told["id"], told["account"], told["user"]) == ("AKIAFAKE0", "123456789012", "")
        assert told["secret"] == "secret-of-AKIAFAKE0"


def test_keys_are_listed_with_whose_they_are_and_whether_they_hold() -> None:
    with serving() as cluster:
        for user in ("", "alice", "bob"):
            broker("access-key", "create", *ACCOUNT, "--user", user, "--cluster", cluster.addresses)
        broker("access-key", "create", "--account", "999999999999", "--cluster", cluster.addresses)
        broker("access-key", "disable", "AKIAFAKE1", "--cluster", cluster.addresses)

        lines = broker("access-key", "list", "--cluster", cluster.addresses).stdout.splitlines()
        assert lines[0].split() == ["access", "key", "account", "user", "created", "status"]
        assert lines[1].split() == ["AKIAFAKE0", "123456789012", "(root)", "1970-01-02", "00:00:00", "active"]
        assert lines[2].split() == ["AKIAFAKE1", "123456789012", "alice", "1970-01-02", "00:00:00", "disabled"]
        assert len(lines) == 5
        own = broker("access-key", "list", "--json", "--account", "999999999999", "--cluster", cluster.addresses)
        assert [key["id"] for key in json.loads(own.stdout)] == ["AKIAFAKE3"]


def test_no_keys_yet() -> None:
    with serving() as cluster:
        listed = broker("access-key", "list", "--cluster", cluster.addresses)
        assert (listed.exit_code, listed.stdout) == (0, "")
        assert "make one with `broker access-key create" in listed.stderr
        assert broker("access-key", "list", "--json", "--cluster", cluster.addresses).stdout == "[]\n"


def test_a_key_is_disabled_enabled_and_deleted() -> None:
    with serving() as cluster:
        broker("access-key", "create", *ACCOUNT, "--cluster", cluster.addresses)
        keys = cluster.access_keys.keys
        disabled = broker("access-key", "disable", "AKIAFAKE0", "--cluster", cluster.addresses)
        assert "AKIAFAKE0 of account 123456789012 is disabled, on every node within five seconds" in disabled.stderr
        assert not keys["AKIAFAKE0"].active
        broker("access-key", "enable", "AKIAFAKE0", "--cluster", cluster.addresses)
        assert keys["AKIAFAKE0"].active
        refused = broker("access-key", "delete", "AKIAFAKE0", "--cluster", cluster.addresses)
        assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
        assert keys
        deleted = broker("access-key", "delete", "AKIAFAKE0", "--yes", "--cluster", cluster.addresses)
        assert (deleted.exit_code, keys) == (0, {})


@pytest.mark.parametrize("command", [("disable",), ("enable",), ("delete", "--yes")])
def test_a_key_that_is_not_there_is_told_with_a_hint(command: tuple[str, ...]) -> None:
    with serving() as cluster:
        result = broker("access-key", *command, "AKIANOBODY", "--cluster", cluster.addresses)
        assert result.exit_code == 1
        assert "error: there is no access key AKIANOBODY" in result.stderr
        assert "broker access-key list" in result.stderr


def test_help_tells_what_to_type() -> None:
    for command in ("create", "list", "disable", "enable", "delete"):
        text = broker("access-key", command, "--help").stdout
        assert f"broker access-key {command}" in text

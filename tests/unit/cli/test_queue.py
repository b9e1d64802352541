"""`broker queue ...` against a fake broker: what is sent, what is written, and what is said of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.broker_thread import fill, serving
from tests.unit.cli.commands import broker


def test_create_show_update_list_delete() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        # given a queue that was made twice
        made = broker("queue", "create", "orders", "--visibility-timeout", "2.5", *at)
        assert (made.exit_code, made.stdout) == (0, "")
        assert "queue orders created" in made.stderr
        assert "was there already" in broker("queue", "create", "orders", *at).stderr

        # when it is changed and shown
        assert broker("queue", "update", "orders", "--delay", "7", *at).exit_code == 0
        shown = broker("queue", "show", "orders", *at)
        as_json = json.loads(broker("queue", "show", "orders", "--json", *at).stdout)

        # then it has both attributes
        assert as_json["attributes"]["visibility_timeout"] == 2.5
        assert as_json["attributes"]["delay"] == 7
        assert "2.5 s" in shown.stdout
        assert broker("queue", "list", *at).stdout == "orders\n"

        # when it is removed
        assert broker("queue", "delete", "orders", "--yes", *at).exit_code == 0
        assert cluster.queues == {}


def test_messages_on_the_command_line_are_sent_and_their_ids_printed() -> None:
    with serving() as cluster:
        fill(cluster, "orders")
        arguments = (
            "--attribute",
            "country=NZ",
            "-a",
            "count:Number=2",
            "--delay",
            "1",
            "--cluster",
            cluster.addresses,
        )
        result = broker("queue", "send", "orders", "one book", "zwei Bücher", *arguments)
        assert result.exit_code == 0
        stored = cluster.queue("orders").stored
        assert [found.body for found in stored] == [b"one book", "zwei Bücher".encode()]
        assert [(found.name, found.type, found.value) for found in stored[0].attributes] == [
            ("country", "String", b"NZ"),
            ("count", "Number", b"2"),
        ]
        assert stored[0].delay_ms == 1_000
        assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_files_lines_arrive_in_order_whatever_is_in_them(tmp_path: Path, ending: bytes) -> None:
    # given a file larger than what is read at once, with an empty line, carriage returns and bytes that are no text
    lines = [b"%d " % number + b"x" * 60 for number in range(6_000)] + [b"", b"dos\r", b"\xff\x00", b"last"]
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\n".join(lines) + ending)
    with serving() as cluster:
        fill(cluster, "orders")
        # when it is sent
        result = broker("queue", "send", "orders", "--file", str(path), "--cluster", cluster.addresses)

        # then every line is a message
        assert result.exit_code == 0
        assert cluster.bodies("orders") == lines
        assert "sent 6,004 messages" in result.stderr
        assert "messages/s" in result.stderr
        assert result.stdout == ""


def test_a_line_that_is_refused_is_named(tmp_path: Path) -> None:
    # given a queue for small messages, and a file whose third line is too long for it
    path = tmp_path / "lines.txt"
    path.write_bytes(b"one\ntwo\n" + b"x" * 2_000 + b"\nfour\n")
    with serving() as cluster:
        fill(cluster, "orders")
        cluster.queue("orders").attributes.message_size_limit = 1_024

        # when it is sent
        result = broker("queue", "send", "orders", "--file", str(path), "--cluster", cluster.addresses)

        # then the line is named
        assert result.exit_code == 1
        assert "error: line 3: the message has 2000 bytes" in result.stderr
        assert b"two" in cluster.bodies("orders")


def test_receive_writes_bodies_and_deletes_them() -> None:
    with serving() as cluster:
        fill(cluster, "orders", b"one", b"two", b"three")
        result = broker("queue", "receive", "orders", "--max", "2", "--cluster", cluster.addresses)
        assert (result.exit_code, result.stdout) == (0, "one\ntwo\n")
        assert cluster.queue("orders").deleted == [b"one", b"two"]
        assert len(cluster.queue("orders").visible) == 1


def test_receive_without_ack_leaves_them() -> None:
    with serving() as cluster:
        fill(cluster, "orders", b"one")
        result = broker("queue", "receive", "orders", "--no-ack", "--json", "--cluster", cluster.addresses)
        written = json.loads(result.stdout)
        assert (written["body"], written["receive_count"]) == ("one", 1)
        assert cluster.queue("orders").deleted == []


def test_receive_of_nothing_says_so() -> None:
    with serving() as cluster:
        fill(cluster, "orders")
        result = broker("queue", "receive", "orders", "--wait", "0", "--cluster", cluster.addresses)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "queue orders has no message to give" in result.stderr


def test_following_ends_after_max_and_gives_back_the_rest() -> None:
    with serving() as cluster:
        fill(cluster, "orders", *(b"%d" % number for number in range(50)))
        result = broker("queue", "receive", "orders", "--follow", "--max", "20", "--cluster", cluster.addresses)
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [str(number) for number in range(20)]
        queue = cluster.queue("orders")
        assert queue.deleted == [b"%d" % number for number in range(20)]
        assert len(queue.visible) == 30


def test_following_without_ack_gives_everything_back() -> None:
    with serving() as cluster:
        fill(cluster, "orders", b"one", b"two")
        arguments = ("--follow", "--no-ack", "--max", "2", "--cluster", cluster.addresses)
        assert broker("queue", "receive", "orders", *arguments).stdout == "one\ntwo\n"
        assert cluster.queue("orders").deleted == []


def test_purge_asks_before_it_destroys() -> None:
    with serving() as cluster:
        fill(cluster, "orders", b"one")
        at = ("--cluster", cluster.addresses)
        refused = broker("queue", "purge", "orders", *at)
        assert refused.exit_code == 2
        assert "--yes" in refused.stderr
        assert len(cluster.queue("orders").visible) == 1
        assert broker("queue", "purge", "orders", "--yes", *at).exit_code == 0
        assert len(cluster.queue("orders").visible) == 0


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("queue", "show", "nothing"), "error: there is no queue 'nothing'", "broker queue create"),
        (("queue", "send", "nothing", "body"), "error: there is no queue 'nothing'", "broker queue list"),
        (("queue", "receive", "nothing", "--follow"), "error: there is no queue 'nothing'", "broker queue list"),
        (("queue", "create", "a b"), "error: queue name 'a b' has a character that is not allowed", ""),
        (("queue", "create", "a", "--delay", "-1"), "error: delay is -1.0", ""),
        (("queue", "send", "nothing", "--file", "/no/such/file"), "error: /no/such/file cannot be read: No such", ""),
        (("queue", "send", "nothing", "body", "-a", "novalue"), "error: attribute 'novalue' must look like", ""),
        (("handover", "z-9"), "error: there is no node 'z-9'; the cluster has a-0", "broker status"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_1(arguments: tuple[str, ...], said: str, hint: str) -> None:
    with serving() as cluster:
        result = broker(*arguments, "--cluster", cluster.addresses)
        assert result.exit_code == 1
        assert result.stdout == ""
        first, *rest = result.stderr.splitlines()
        assert first.startswith(said)
        assert hint in " ".join(rest)
        assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("queue", "send", "orders"),
        ("queue", "send", "orders", "body", "--file", "-"),
        ("queue", "update", "orders"),
        ("queue", "receive", "orders", "--max", "0"),
        ("queue", "nonsense"),
        ("nonsense",),
        ("status", "--every", "0"),
        ("cluster", "--fsync", "never"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = broker(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_no_cluster_is_said_in_one_line() -> None:
    result = broker("queue", "list", "--cluster", "127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: no node of 127.0.0.1:1 answers; is the cluster running? Start it with `make run`\n"
    )


def test_a_bad_address_is_named() -> None:
    result = broker("status", "--cluster", "http://127.0.0.1:4001")
    assert result.exit_code == 1
    assert "error: 'http://127.0.0.1:4001' is not an address" in result.stderr

"""`broker queue ...` beyond plain sending and receiving: FIFO, dead letters, schedules, browsing, moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.client.model import MessageGroup
from broker.pb.queues.v1 import queues_pb2
from tests.unit.cli.broker_thread import fill, serving
from tests.unit.cli.commands import broker
from tests.unit.client.fake_broker import FakeCluster


def test_a_fifo_queue_is_made_with_its_options_and_half_of_its_policy_changed() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        # given a FIFO queue of high throughput with a dead-letter queue
        made = broker(
            *("queue", "create", "orders.fifo", "--content-deduplication", "--high-throughput", "--stripes", "4"),
            *("--dead-letters", "dead.fifo", "--max-receives", "7", "--takes-dead-letters-of", "a.fifo, b.fifo"),
            *("--beside", "other", *at),
        )
        assert made.exit_code == 0, made.output
        attributes = cluster.queue("orders.fifo").attributes
        assert (attributes.content_deduplication, attributes.stripes) == (True, 4)
        assert attributes.deduplication_scope == attributes.throughput_limit == queues_pb2.PER_MESSAGE_GROUP
        assert list(attributes.redrive_allow.sources) == ["a.fifo", "b.fifo"]

        # when only one half of the policy is changed
        assert broker("queue", "update", "orders.fifo", "--dead-letters", "dead-2.fifo", *at).exit_code == 0
        assert (attributes.redrive.target, attributes.redrive.max_receive_count) == ("dead-2.fifo", 7)
        assert broker("queue", "update", "orders.fifo", "--max-receives", "2", *at).exit_code == 0
        assert (attributes.redrive.target, attributes.redrive.max_receive_count) == ("dead-2.fifo", 2)

        # then the other stays; and it can be taken away
        assert broker("queue", "update", "orders.fifo", "--no-dead-letters", *at).exit_code == 0
        assert not attributes.HasField("redrive")
        assert broker("queue", "update", "orders.fifo", "--takes-dead-letters-of", "none", *at).exit_code == 0
        assert attributes.redrive_allow.permission == queues_pb2.REDRIVE_PERMISSION_DENY_ALL


def test_a_policy_without_a_number_of_receives_has_the_usual_one() -> None:
    with serving() as cluster:
        assert broker("queue", "create", "a", "--dead-letters", "b", "--cluster", cluster.addresses).exit_code == 0
        assert cluster.queue("a").attributes.redrive.max_receive_count == 5


def test_messages_are_sent_with_everything_they_may_have() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        cluster.create("orders.fifo")
        cluster.create("orders")
        group = ("--group", "customer-7")
        broker("queue", "send", "orders.fifo", *group, "--deduplication-id", "id", "one", *at)
        broker("queue", "send", "orders.fifo", *group, "--deduplication-id", "other", "two", "three", *at)
        broker("queue", "send", "orders", "--at", "2000000000", "--ttl", "2d", "later", *at)
        result = broker("queue", "send", "orders", "--in", "1h", "soon", *at)

        assert result.exit_code == 0, result.output
        stored = cluster.queue("orders.fifo").stored
        assert [found.deduplication_id for found in stored] == ["id", "other-1", "other-2"]
        assert {found.message_group for found in stored} == {"customer-7"}
        later, soon = cluster.queue("orders").stored
        assert (later.deliver_at, later.time_to_live_ms) == (2_000_000_000_000, 172_800_000)
        assert soon.deliver_at > 1_700_000_000_000


def test_a_file_sent_again_under_the_same_id_stores_nothing_twice(tmp_path: Path) -> None:
    with serving() as cluster:
        cluster.create("orders.fifo")
        path = tmp_path / "lines.txt"
        path.write_text("".join(f"line {number}\n" for number in range(2_500)))
        for _ in range(2):
            arguments = ("--file", str(path), "--group", "g", "--deduplication-id", "file-1")
            result = broker("queue", "send", "orders.fifo", *arguments, "--cluster", cluster.addresses)
            assert result.exit_code == 0, result.output
            assert "sent 2,500 messages" in result.stderr
        assert cluster.bodies("orders.fifo") == [b"line %d" % number for number in range(2_500)]


def test_received_messages_tell_their_group_number_and_origin() -> None:
    with serving() as cluster:
        queue = cluster.create("dead.fifo")
        message = queue.send(queues_pb2.OutgoingMessage(body=b"\xff", message_group="g", deduplication_id="d"))
        message.origin = queues_pb2.Origin(queue="orders.fifo", message_id=b"o" * 16, sent_at=1_500, receive_count=5)
        arguments = ("--json", "--attempt", "try-1", "--cluster", cluster.addresses)
        written = json.loads(broker("queue", "receive", "dead.fifo", *arguments).stdout)
        assert written["body_base64"] == "/w=="
        assert (written["message_group"], written["deduplication_id"], written["sequence_number"]) == ("g", "d", 1)
        assert written["origin"] == {
            "queue": "orders.fifo",
            "id": "6f6f6f6f-6f6f-6f6f-6f6f-6f6f6f6f6f6f",
            "sent_at": 1.5,
            "receive_count": 5,
        }


def test_what_is_scheduled_can_be_browsed_and_withdrawn() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        # given two scheduled messages
        cluster.create("mails")
        result = broker("queue", "schedule", "mails", "2033-05-18T03:33:20Z", "a", "b", "--group", "g", *at)
        first, second = result.stdout.split()
        assert "due 2033-05-18" in result.stderr
        assert "broker queue cancel mails" in result.stderr
        assert [found.deliver_at for found in cluster.queue("mails").stored] == [2_000_000_000_000] * 2

        # when they are browsed
        rows = broker("queue", "browse", "mails", "--state", "delayed", *at).stdout.splitlines()
        assert [row.split()[0] for row in rows] == ["id", first, second]
        assert "due in" in rows[1]
        narrow = broker("queue", "browse", "mails", *at, columns=60).stdout.splitlines()
        assert [row.split()[0] for row in narrow] == ["id", first, second]

        # and withdrawn, then there is nothing left to withdraw
        assert "2 scheduled messages withdrawn" in broker("queue", "cancel", "mails", first, second, *at).stderr
        again = broker("queue", "cancel", "mails", first, *at)
        assert again.exit_code == 1
        assert "is not scheduled" in again.stderr
        assert "1 of 1 messages were not withdrawn" in again.stderr
        assert "broker queue browse NAME --state delayed" in again.stderr


def test_browsing_shows_all_there_is_in_order_and_takes_nothing() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        fill(cluster, "orders", *(b"body %d" % number for number in range(7)))
        table = broker("queue", "browse", "orders", *at).stdout.splitlines()
        assert [row.rstrip().rpartition("  ")[2] for row in table[1:]] == [f"body {number}" for number in range(7)]
        assert "visible" in table[1]

        lines = broker("queue", "browse", "orders", "--json", "--limit", "0", *at).stdout.splitlines()
        assert [json.loads(line)["body"] for line in lines] == [f"body {number}" for number in range(7)]
        assert json.loads(lines[0])["state"] == "visible"

        some = broker("queue", "browse", "orders", "--limit", "3", *at)
        assert len(some.stdout.splitlines()) == 4
        assert "there are more; see them with --limit 30" in some.stderr
        none = broker("queue", "browse", "orders", "--state", "in-flight", "--since", "1h", *at)
        assert (none.stdout, none.exit_code) == ("", 0)
        assert "queue orders has no such message" in none.stderr
        assert len(cluster.queue("orders").visible) == 7


def test_a_queue_is_shown_as_a_picture_and_as_json() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        _dead_letters(cluster)
        shown = broker("queue", "show", "orders", *at)
        assert "orders ──received 3 times──▶ dead (2 there)" in shown.stdout
        assert "orders ──dead letters──▶ dead" in broker("queue", "show", "dead", *at).stdout

        cluster.queue("dead").send(queues_pb2.OutgoingMessage(body=b"x", message_group="g"))
        as_json = json.loads(broker("queue", "show", "dead", "--json", *at).stdout)
        assert as_json["counts"]["visible"] == 3
        assert as_json["dead_letter_sources"] == ["orders"]
        assert as_json["census"]["ages"]["visible"] == [0, 3, 0]
        assert MessageGroup(**as_json["census"]["message_groups"][0]) == MessageGroup("g", 1, 0)
        assert (as_json["moves"], as_json["dead_letters"]) == ([], None)


def test_dead_letters_are_moved_watched_listed_and_stopped() -> None:
    with serving() as cluster:
        at = ("--cluster", cluster.addresses)
        # given a dead-letter queue with two messages
        _dead_letters(cluster)
        assert broker("queue", "redrive", "sources", "dead", *at).stdout == "orders\n"
        assert "nothing was moved from dead lately" in broker("queue", "redrive", "list", "dead", *at).stderr

        # when a slow move is begun and stopped
        begun = broker("queue", "redrive", "start", "dead", "--to", "elsewhere", "--rate", "1", "--no-wait", *at)
        task = begun.stdout.strip()
        stopped = broker("queue", "redrive", "cancel", task, *at)
        assert "stopped after 0 messages" in stopped.stderr
        # and another one waited for
        done = broker("queue", "redrive", "start", "dead", *at)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "moved 2 messages back to where they came from" in done.stderr

        # then both are listed, the newest first
        rows = broker("queue", "redrive", "list", "dead", *at).stdout.splitlines()
        assert [row.split()[0] for row in rows] == ["completed", "dead-2", "cancelled", task]
        assert "0 of 2 messages to elsewhere at 1 a second, begun" in rows[2]
        as_json = json.loads(broker("queue", "redrive", "list", "dead", "--json", *at).stdout)
        assert [move["status"] for move in as_json] == ["completed", "cancelled"]
        # and what makes no sense is told with what does
        nowhere = broker("queue", "redrive", "start", "orders", *at)
        assert nowhere.exit_code == 1
        assert "hint: say where to with --to QUEUE" in nowhere.stderr
        assert "broker queue redrive list" in broker("queue", "redrive", "cancel", task, *at).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("queue", "create", "a", "--max-receives", "3"), "--max-receives needs a queue to move messages to"),
        (
            ("queue", "create", "a.fifo", "--high-throughput", "--deduplication-scope", "queue"),
            "--high-throughput needs --deduplication-scope message-group",
        ),
        (("queue", "send", "a", "x", "--at", "soon"), "--at is 'soon', which is no instant; write +10m"),
        (("queue", "send", "a", "x", "--in", "soon"), "--in is 'soon', which is no duration; write 90"),
        (("queue", "send", "a", "x", "--ttl", "long"), "--ttl is 'long', which is no duration"),
        (("queue", "schedule", "a", "tomorrow", "x"), "WHEN is 'tomorrow', which is no instant"),
        (("queue", "cancel", "a", "x"), "'x' is no message id"),
        (("queue", "browse", "a", "--since", "yesterday"), "--since is 'yesterday', which is no instant"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    with serving() as cluster:
        result = broker(*arguments, "--cluster", cluster.addresses, columns=200)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error: {said}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("queue", "update", "a", "--no-dead-letters", "--max-receives", "3"),
        ("queue", "send", "a", "x", "--at", "+1m", "--delay", "3"),
        ("queue", "receive", "a.fifo", "--attempt", "x", "--follow"),
        ("queue", "browse", "a", "--state", "gone"),
        ("queue", "browse", "a", "--limit", "-1"),
        ("queue", "schedule", "a", "+1m"),
        ("queue", "redrive"),
        ("queue", "redrive", "nonsense"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = broker(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def _dead_letters(cluster: FakeCluster) -> None:
    fill(cluster, "dead", b"a", b"b")
    cluster.create("orders", redrive=queues_pb2.RedrivePolicy(target="dead", max_receive_count=3))

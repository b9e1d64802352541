"""Commands as processes: signals, pipes that break, and input that never ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.cli.broker_thread import fill, serving

TIME_LIMIT = 20


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                stream.close()


def test_ctrl_c_ends_following_quietly_and_acks_what_was_written() -> None:
    with serving() as cluster:
        fill(cluster, "orders", b"one", b"two")
        with command("queue", "receive", "orders", "--follow", "--cluster", cluster.addresses) as process:
            # given two messages written
            assert process.stdout is not None
            assert process.stderr is not None
            assert [process.stdout.readline(), process.stdout.readline()] == [b"one\n", b"two\n"]

            # when Ctrl-C comes
            process.send_signal(signal.SIGINT)

            # then the command ends without a word
            assert process.wait(TIME_LIMIT) == 130
            assert process.stderr.read() == b""
        assert cluster.queue("orders").deleted == [b"one", b"two"]


def test_a_reader_that_goes_away_ends_following_quietly_and_loses_nothing() -> None:
    with serving() as cluster:
        # given more messages than a pipe holds
        bodies = [b"%d " % number + b"x" * 1_000 for number in range(2_000)]
        fill(cluster, "orders", *bodies)
        with command("queue", "receive", "orders", "--follow", "--cluster", cluster.addresses) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith(b"0 ")

            # when the reader goes away
            process.stdout.close()

            # then the command ends without a word, and what was not written is in the queue
            assert process.wait(TIME_LIMIT) == 0
            assert process.stderr.read() == b""
        queue = cluster.queue("orders")
        assert queue.in_flight == {}
        assert sorted([*queue.deleted, *(found.body for found in queue.visible)]) == sorted(bodies)
        assert len(queue.visible) > 0


def test_lines_of_a_pipe_are_sent_as_they_come_and_ctrl_c_says_how_many() -> None:
    with serving() as cluster:
        fill(cluster, "orders")
        with command("queue", "send", "orders", "--file", "-", "--cluster", cluster.addresses) as process:
            # given a pipe that stays open
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(b"one\ntwo\nunfini")
            process.stdin.flush()
            while len(cluster.queue("orders").stored) < 2:
                assert process.poll() is None

            # when Ctrl-C comes
            process.send_signal(signal.SIGINT)

            # then the complete lines are there
            assert process.wait(TIME_LIMIT) == 130
            assert b"Traceback" not in process.stderr.read()
        assert cluster.bodies("orders") == [b"one", b"two"]


def test_the_end_of_a_pipe_completes_the_last_line() -> None:
    with serving() as cluster:
        fill(cluster, "orders")
        with command("queue", "send", "orders", "-f", "-", "-c", cluster.addresses) as process:
            _, said = process.communicate(b"one\ntwo", timeout=TIME_LIMIT)
            assert process.returncode == 0
            assert said.startswith(b"sent 2 messages")
        assert cluster.bodies("orders") == [b"one", b"two"]


def test_output_to_a_full_disk_is_an_error_and_loses_nothing() -> None:
    with serving() as cluster, open("/dev/full", "wb") as full:
        fill(cluster, "orders", b"one")
        done = subprocess.run(
            [sys.executable, "-m", "broker", "queue", "receive", "orders", "-c", cluster.addresses],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIME_LIMIT,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith(b"error: stdout cannot be written: No space left on device")
        assert cluster.queue("orders").deleted == []


def test_help_needs_no_heavy_module() -> None:
    program = (
        "import sys\nfrom broker.__main__ import build\nbuild([])\n"
        "print([name for name in ('grpc', 'google.protobuf', 'broker.node', 'uvloop') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=TIME_LIMIT, check=True)
    assert done.stdout == b"[]\n"

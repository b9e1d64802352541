"""Clients as people use them, against a real node: Celery, dramatiq, the AWS command line, the SDKs for JavaScript and
Go, sqs-consumer.

Each lives in an environment of its own, because they pin what they depend on: ``make test-clients``, ``test-js`` and
``test-go`` make them under build/clients and run this. What is not there is not tested.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path("build/clients").resolve()
SCRIPTS = Path(__file__).parent / "clients"
TIMEOUT = 120.0

pytestmark = pytest.mark.slow


def needs(client: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (CLIENTS / client).exists(), reason=f"no {client} in build/clients")


def program(client: str, name: str) -> str:
    return str(CLIENTS / client / "bin" / name)


def environment(endpoint: str, **more: str) -> dict[str, str]:
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**os.environ, **credentials, "AWS_ENDPOINT_URL": endpoint, **more}


def output_of(*command: str, env: dict[str, str]) -> str:
    ended = subprocess.run(command, cwd=SCRIPTS, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def celery_worker(env: dict[str, str]) -> Iterator[None]:
    command = [program("celery", "celery"), "-A", "celery_tasks", "worker", "-P", "threads", "-c", "2", "-l", "ERROR"]
    worker = subprocess.Popen(command, cwd=SCRIPTS, env=env, stdout=sys.stderr, stderr=sys.stderr)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(TIMEOUT)


@needs("celery")
@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_celery(endpoint: str, name: str, tmp_path: Path, suffix: str) -> None:
    env = environment(endpoint, QUEUE=name + suffix, RESULTS=str(tmp_path))
    with celery_worker(env):
        found = json.loads(output_of(program("celery", "python"), "celery_tasks.py", env=env))
    assert found == {"sums": [number + 1 for number in range(10)], "later": 42, "tries": 3}


@needs("dramatiq")
def test_dramatiq(endpoint: str) -> None:
    found = output_of(program("dramatiq", "python"), "dramatiq_actors.py", env=environment(endpoint))
    assert json.loads(found) == sorted([*map(str, range(10)), "late", "second time"])


def javascript(script: str, endpoint: str, name: str) -> Any:
    node = shutil.which("node")
    assert node is not None, "Node.js is not there any more"
    env = environment(endpoint, QUEUE=name, NODE_PATH=str(CLIENTS / "js" / "node_modules"))
    return json.loads(output_of(node, script, env=env))


@needs("js")
def test_the_sdk_of_javascript(endpoint: str, name: str) -> None:
    assert javascript("sdk.cjs", endpoint, name) == {
        "sameId": True,
        "body": "é ✓",
        "raw": [0, 255],
        "number": "7",
        "receives": ["1", "2"],
        "batch": [["a"], [["b", "InvalidParameterValue", True]]],
        "ordered": [["1", "g"], ["2", "g"], ["3", "g"]],
        "deleted": 3,
        "missing": [True, "QueueDoesNotExist", 400],
    }


@needs("js")
def test_the_consumer_of_javascript(endpoint: str, name: str) -> None:
    found = javascript("consumer.cjs", endpoint, name)
    assert sorted(found["seen"]) == sorted(f"{number} even" for number in range(20))
    assert found["failed"] == 1
    assert found["left"] == {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}


@needs("go")
def test_the_sdk_of_go(endpoint: str, name: str) -> None:
    found = output_of(program("go", "queues"), env=environment(endpoint, QUEUE=name))
    assert json.loads(found) == {
        "visibility": "40",
        "tags": {"team": "a"},
        "body": "é & ✓",
        "raw": "AP8=",
        "receives": "1",
        "batch": ["a", "b", "InvalidParameterValue", True],
        "missing": True,
    }


@needs("awscli")
def test_the_aws_command_line(endpoint: str, name: str) -> None:
    def aws(*arguments: str) -> Any:
        command = (program("awscli", "aws"), "--endpoint-url", endpoint, "--output", "json", *arguments)
        text = output_of(*command, env=environment(endpoint))
        return json.loads(text) if text else None

    attributes = json.dumps({"VisibilityTimeout": "40"})
    url = aws("sqs", "create-queue", "--queue-name", name, "--attributes", attributes, "--tags", "team=a")["QueueUrl"]
    typed = json.dumps({"k": {"DataType": "String", "StringValue": "v"}})
    sent = aws("sqs", "send-message", "--queue-url", url, "--message-body", "hello", "--message-attributes", typed)
    wanted = ("--attribute-names", "All", "--message-attribute-names", "All", "--wait-time-seconds", "5")
    (received,) = aws("sqs", "receive-message", "--queue-url", url, *wanted)["Messages"]
    aws("sqs", "delete-message", "--queue-url", url, "--receipt-handle", received["ReceiptHandle"])
    found = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]

    assert (received["Body"], received["MessageId"]) == ("hello", sent["MessageId"])
    assert received["MessageAttributes"] == {"k": {"DataType": "String", "StringValue": "v"}}
    assert (found["VisibilityTimeout"], found["ApproximateNumberOfMessagesNotVisible"]) == ("40", "0")
    assert aws("sqs", "list-queue-tags", "--queue-url", url)["Tags"] == {"team": "a"}
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"

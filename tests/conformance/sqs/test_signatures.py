"""A node that checks signatures, as users meet it: keys made by the command, requests signed by boto3 and aws-cli."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import boto3
import botocore.auth
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from broker.services.access_keys import STALENESS
from tests.conformance.sqs.nodes import NAMESPACE, REGION, Node, client, nodes, refused
from tests.conformance.sqs.test_clients import needs, program

ACCOUNT = "123456789012"
INVALID = "The security token included in the request is invalid."


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with nodes(tmp_path_factory.mktemp("checking"), 1, development=False) as started:
        yield started[0]


def broker(node: Node, *arguments: str) -> str:
    command = [sys.executable, "-m", "broker", "access-key", *arguments]
    command += ["--cluster", node.process.settings.client_listen]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Key:
    def __init__(self, node: Node, *options: str) -> None:
        self.node = node
        lines = broker(node, "create", "--account", ACCOUNT, *options).splitlines()
        self.environment = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        self.id, self.secret = self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]

    def sqs(self, **changes: Any) -> Any:
        return client(self.node.endpoint, **{"access_key": self.id, "secret": self.secret, **changes})


@pytest.fixture(scope="module")
def key(node: Node) -> Key:
    return Key(node)


@contextmanager
def clock_off_by(minutes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In what botocore signs."""
    real = botocore.auth.get_current_datetime
    off = datetime.timedelta(minutes=minutes)
    with monkeypatch.context() as patched:
        patched.setattr(botocore.auth, "get_current_datetime", lambda *given: real(*given) + off)
        yield


def test_a_key_reaches_the_queues_of_its_account(key: Key, name: str) -> None:
    with key.sqs() as sqs:
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        assert url.endswith(f"/{ACCOUNT}/{name}")
        for number in range(5):
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
        assert sorted(message["Body"] for message in received) == list("01234")
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        assert attributes["QueueArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def test_who_am_i(node: Node) -> None:
    key = Key(node, "--user", "alice")
    sts = boto3.client(
        "sts",
        region_name=REGION,
        endpoint_url=node.endpoint,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
    )
    found = sts.get_caller_identity()
    assert (found["Account"], found["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/alice")
    assert found["UserId"].startswith("AIDA")
    sts.close()


def test_another_secret_does_not_match(key: Key) -> None:
    with key.sqs(secret="another") as sqs:
        refusal = refused(sqs, "list_queues")
    assert (refusal.code, refusal.status) == ("SignatureDoesNotMatch", 403)
    assert refusal.message.startswith("The request signature we calculated does not match the signature you provided.")


@pytest.mark.parametrize("access_key", ["AKIANOBODYNOBODYNOBO", "test", "000000000000"])
def test_a_key_that_nobody_has_is_invalid(key: Key, access_key: str) -> None:
    with key.sqs(access_key=access_key) as sqs:
        assert refused(sqs, "list_queues")[:3] == ("InvalidClientTokenId", INVALID, 403)


def test_what_is_not_signed_is_missing_a_token(node: Node) -> None:
    with client(node.endpoint, signature_version=botocore.UNSIGNED) as sqs:
        assert refused(sqs, "list_queues")[:3] == (
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
            403,
        )


def test_a_session_token_is_of_nobody(node: Node, key: Key) -> None:
    sqs = boto3.client(
        "sqs",
        region_name=REGION,
        endpoint_url=node.endpoint,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        aws_session_token="token",
        config=Config(retries={"total_max_attempts": 1}),
    )
    assert refused(sqs, "list_queues")[:3] == ("InvalidClientTokenId", INVALID, 403)
    sqs.close()


def test_a_key_is_disabled_enabled_and_deleted(node: Node) -> None:
    key = Key(node)
    with key.sqs() as sqs:
        sqs.list_queues()
        broker(node, "disable", key.id)  # on the node that is asked it takes effect at once
        assert refused(sqs, "list_queues").code == "InvalidClientTokenId"
        broker(node, "enable", key.id)
        sqs.list_queues()
        broker(node, "delete", key.id, "--yes")
        assert refused(sqs, "list_queues").code == "InvalidClientTokenId"


@pytest.mark.parametrize(("minutes", "told"), [(-16, "Signature expired: "), (16, "Signature not yet current: ")])
def test_a_clock_that_is_wrong_is_told_so(key: Key, monkeypatch: pytest.MonkeyPatch, minutes: int, told: str) -> None:
    with key.sqs() as sqs, clock_off_by(minutes, monkeypatch):
        refusal = refused(sqs, "list_queues")
    assert (refusal.code, refusal.status) == ("SignatureDoesNotMatch", 403)
    assert refusal.message.startswith(told)
    with key.sqs() as sqs, clock_off_by(minutes - 2 if minutes > 0 else minutes + 2, monkeypatch):
        sqs.list_queues()


def fetched(request: AWSRequest) -> tuple[int, ElementTree.Element]:
    prepared = request.prepare()
    raw = Request(prepared.url, prepared.body or None, dict(prepared.headers.items()), method=prepared.method)
    try:
        with urlopen(raw, timeout=60) as response:
            return response.status, ElementTree.fromstring(response.read())
    except HTTPError as error:
        with error:
            return error.code, ElementTree.fromstring(error.read())


def code_of(answer: tuple[int, ElementTree.Element]) -> tuple[int, str | None]:
    return answer[0], answer[1].findtext(f"{NAMESPACE}Error/{NAMESPACE}Code")


def query(node: Node, key: Key, secret: str = "", **fields: str) -> AWSRequest:
    """Signed in its header."""
    body = urlencode({"Version": "2012-11-05", **fields}).encode()
    content_type = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    request = AWSRequest("POST", node.endpoint + "/", headers=content_type, data=body)
    SigV4Auth(Credentials(key.id, secret or key.secret), "sqs", REGION).add_auth(request)
    return request


def test_the_query_protocol(node: Node, key: Key, name: str) -> None:
    status, root = fetched(query(node, key, Action="CreateQueue", QueueName=name))
    assert status == 200
    url = root.findtext(f"{NAMESPACE}CreateQueueResult/{NAMESPACE}QueueUrl")
    assert url == f"{node.endpoint}/{ACCOUNT}/{name}"
    assert fetched(query(node, key, Action="SendMessage", QueueUrl=url, MessageBody="x"))[0] == 200
    assert code_of(fetched(query(node, key, "another", Action="ListQueues"))) == (403, "SignatureDoesNotMatch")
    changed = query(node, key, Action="ListQueues")
    changed.data += b"&MaxResults=1"
    assert code_of(fetched(changed)) == (403, "SignatureDoesNotMatch")
    bare = query(node, key, Action="ListQueues")
    del bare.headers["Authorization"]
    assert code_of(fetched(bare)) == (403, "MissingAuthenticationToken")
    broken = query(node, key, Action="ListQueues")
    broken.headers.replace_header("Authorization", "AWS4-HMAC-SHA256 Credential=x")
    assert code_of(fetched(broken)) == (400, "IncompleteSignature")


def presigned(node: Node, key: Key, expires: int, **fields: str) -> AWSRequest:
    query = urlencode({"Version": "2012-11-05", **fields})
    request = AWSRequest("GET", f"{node.endpoint}/?{query}")
    SigV4QueryAuth(Credentials(key.id, key.secret), "sqs", REGION, expires).add_auth(request)
    return request


def test_a_presigned_url_is_all_that_is_needed(
    node: Node, key: Key, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with key.sqs() as sqs:
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        request = presigned(node, key, 60, Action="SendMessage", QueueUrl=url, MessageBody="bylink")
        assert [fetched(AWSRequest("GET", request.url))[0] for _ in range(2)] == [200, 200]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
        assert counts == {"ApproximateNumberOfMessages": "2"}
    other = request.url.replace("bylink", "another")
    assert code_of(fetched(AWSRequest("GET", other))) == (403, "SignatureDoesNotMatch")
    with clock_off_by(-2, monkeypatch):
        late = presigned(node, key, 60, Action="ListQueues")
    status, root = fetched(late)
    assert (status, "Signature expired" in ElementTree.tostring(root, "unicode")) == (403, True)


def test_health_pages_stay_open(node: Node) -> None:
    for path in ("/livez", "/readyz", "/_localstack/health"):
        with urlopen(node.endpoint + path, timeout=60) as response:
            assert response.status == 200


def test_what_the_command_promises_is_what_the_nodes_keep() -> None:
    assert STALENESS == 5_000


@pytest.mark.slow
@needs("awscli")
def test_the_aws_command_line(node: Node, key: Key, name: str) -> None:
    def aws(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [program("awscli", "aws"), "--endpoint-url", node.endpoint, "--output", "text", *arguments]
        env = {**os.environ, **key.environment, "AWS_DEFAULT_REGION": REGION, **environment}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert aws("sqs", "create-queue", "--queue-name", name).stdout.strip().endswith(f"/{ACCOUNT}/{name}")
    assert ACCOUNT in aws("sts", "get-caller-identity").stdout
    assert "(SignatureDoesNotMatch)" in aws("sqs", "list-queues", AWS_SECRET_ACCESS_KEY="another").stderr
    assert "(InvalidClientTokenId)" in aws("sqs", "list-queues", AWS_ACCESS_KEY_ID="AKIANOBODY").stderr
    assert "(MissingAuthenticationToken)" in aws("sqs", "list-queues", "--no-sign-request").stderr

"""A node that checks who calls: two accounts with keys, users, and callers without any, before policies of queues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import pytest
from botocore import UNSIGNED

from broker.client.client import Client
from tests.conformance.sqs.nodes import NAMESPACE, REGION, TIMEOUT, Node, Refusal, client, nodes, refused

OWNER, OTHER = "111122223333", "444455556666"


class Callers(NamedTuple):
    """Clients. ``clerk``: a user of the owner's account. ``nobody``: signs nothing."""

    owner: Any
    clerk: Any
    other: Any
    nobody: Any


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with nodes(tmp_path_factory.mktemp("guarded"), 1, development=False) as started:
        yield started[0]


@pytest.fixture(scope="module")
def callers(node: Node) -> Iterator[Callers]:
    async def keys() -> list[tuple[str, str]]:
        async with Client(node.process.settings.client_listen) as making:
            made = [
                await making.create_access_key(OWNER),
                await making.create_access_key(OWNER, "clerk"),
                await making.create_access_key(OTHER),
            ]
        return [(each.key.id, each.secret) for each in made]

    with ExitStack() as stack:
        signing = [
            stack.enter_context(client(node.endpoint, access_key=key, secret=secret))
            for key, secret in asyncio.run(keys())
        ]
        yield Callers(*signing, nobody=stack.enter_context(client(node.endpoint, signature_version=UNSIGNED)))


@pytest.fixture
def url(callers: Callers, name: str) -> str:
    return str(callers.owner.create_queue(QueueName=name)["QueueUrl"])


def arn(url: str) -> str:
    return f"arn:aws:sqs:{REGION}:{OWNER}:{url.rpartition('/')[2]}"


def set_policy(owner: Any, url: str, **changes: Any) -> None:
    """With one statement, which allows everybody to send, but for ``changes``."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn(url), **changes}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    owner.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def may_send(sqs: Any, url: str) -> bool:
    try:
        sqs.send_message(QueueUrl=url, MessageBody="a book")
    except sqs.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return True


def test_another_account_has_no_access_until_it_is_given(callers: Callers, url: str, name: str) -> None:
    entries = [{"Id": "a", "MessageBody": "x"}]
    before = refused(callers.other, "send_message_batch", QueueUrl=url, Entries=entries)
    callers.owner.add_permission(QueueUrl=url, Label="send", AWSAccountIds=[OTHER], Actions=["SendMessage"])
    found = refused(callers.other, "get_queue_url", QueueName=name, QueueOwnerAWSAccountId=OWNER)
    sent = callers.other.send_message_batch(QueueUrl=url, Entries=entries)
    received = callers.owner.receive_message(QueueUrl=url)["Messages"]
    stays = refused(callers.other, "receive_message", QueueUrl=url)
    callers.owner.remove_permission(QueueUrl=url, Label="send")

    message = (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: sqs:sendmessage on resource: {arn(url)} "
        "because no resource-based policy allows the sqs:sendmessage action"
    )
    assert (before.code, before.status, before.message) == ("AccessDenied", 403, message)
    assert found.code == stays.code == "AccessDenied"
    assert sent["Successful"][0]["MessageId"] == received[0]["MessageId"]
    assert not may_send(callers.other, url)


def test_a_queue_of_the_same_name_is_another_one(callers: Callers, url: str, name: str) -> None:
    callers.owner.add_permission(QueueUrl=url, Label="all", AWSAccountIds=[OTHER], Actions=["*"])
    own = callers.other.create_queue(QueueName=name)["QueueUrl"]
    found = callers.other.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=OWNER)["QueueUrl"]
    callers.other.send_message(QueueUrl=found, MessageBody="for the owner")

    assert (found, own != found) == (url, True)
    assert "Messages" not in callers.other.receive_message(QueueUrl=own)
    (message,) = callers.other.receive_message(QueueUrl=found)["Messages"]
    callers.other.delete_message(QueueUrl=found, ReceiptHandle=message["ReceiptHandle"])


def test_a_deny_binds_the_users_of_the_account(callers: Callers, url: str) -> None:
    assert may_send(callers.clerk, url)
    clerk = f"arn:aws:iam::{OWNER}:user/clerk"
    set_policy(callers.owner, url, Effect="Deny", Principal={"AWS": clerk})
    error = refused(callers.clerk, "send_message", QueueUrl=url, MessageBody="x")
    assert error.message == (
        f"User: {clerk} is not authorized to perform: sqs:sendmessage on resource: {arn(url)} with an explicit deny in "
        "a resource-based policy"
    )
    assert may_send(callers.owner, url)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": OTHER}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:*:*"}}, False),
    ],
)
def test_conditions(callers: Callers, url: str, condition: dict[str, Any], holds: bool) -> None:
    set_policy(callers.owner, url, Condition=condition)
    assert may_send(callers.other, url) is holds


def test_a_queue_that_is_open_to_everybody(callers: Callers, url: str) -> None:
    assert not may_send(callers.nobody, url)
    set_policy(callers.owner, url)
    assert may_send(callers.nobody, url)
    assert may_send(callers.other, url)
    error = refused(callers.nobody, "receive_message", QueueUrl=url)
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert error.message.startswith("User: anonymous is not authorized to perform: sqs:receivemessage on resource: ")


def test_the_query_protocol_is_told_the_same(callers: Callers, node: Node, url: str) -> None:
    fields = urlencode({"Action": "ReceiveMessage", "Version": "2012-11-05", "QueueUrl": url})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(node.endpoint, fields.encode(), headers), timeout=TIMEOUT)
    with caught.value as answer:
        error = ElementTree.fromstring(answer.read()).find(f"{NAMESPACE}Error")
    assert error is not None
    told = [error.findtext(NAMESPACE + part) for part in ("Type", "Code", "Message")]
    assert caught.value.code == 403
    assert told == ["Sender", "AccessDenied", refused(callers.nobody, "receive_message", QueueUrl=url).message]


def test_what_is_never_done_across_accounts(callers: Callers, url: str) -> None:
    set_policy(callers.owner, url, Action="*")
    given: dict[str, dict[str, Any]] = {
        "add_permission": {"Label": "x", "AWSAccountIds": [OTHER], "Actions": ["SendMessage"]},
        "delete_queue": {},
        "list_queue_tags": {},
        "remove_permission": {"Label": "x"},
        "set_queue_attributes": {"Attributes": {"DelaySeconds": "5"}},
        "tag_queue": {"Tags": {"a": "b"}},
        "untag_queue": {"TagKeys": ["a"]},
    }
    for operation, members in given.items():
        assert refused(callers.other, operation, QueueUrl=url, **members).code == "AccessDenied"
    for operation in ("start_message_move_task", "list_message_move_tasks"):
        assert refused(callers.other, operation, SourceArn=arn(url)).code == "AccessDenied"
    for operation, members in {"list_queues": {}, "create_queue": {"QueueName": "x"}}.items():
        assert refused(callers.nobody, operation, **members).status == 403
    assert callers.other.purge_queue(QueueUrl=url)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_others_do_not_learn_whether_a_queue_exists(callers: Callers, url: str, name: str) -> None:
    def told(sqs: Any, queue: str) -> list[Refusal]:
        found = [
            refused(sqs, "send_message", QueueUrl=url.replace(name, queue), MessageBody="x"),
            refused(sqs, "get_queue_url", QueueName=queue, QueueOwnerAWSAccountId=OWNER),
        ]
        return [each._replace(message=each.message.replace(queue, "QUEUE")) for each in found]

    for sqs in (callers.other, callers.nobody):
        assert told(sqs, name) == told(sqs, name + "-missing")


def test_a_policy_that_denies_everything_is_taken_away_by_the_root(callers: Callers, url: str) -> None:
    set_policy(callers.owner, url, Effect="Deny", Action="*")
    assert not may_send(callers.owner, url)
    assert refused(callers.clerk, "set_queue_attributes", QueueUrl=url, Attributes={"Policy": ""}).status == 403
    callers.owner.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert may_send(callers.clerk, url)

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from broker.aio.system_clock import SystemClock
from broker.base.errors import InvalidArgument, Overloaded
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.contract import AwsError, Context, Operation
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.edge.aws.sts.service import StsService
from broker.telemetry.metrics import Registry, render

SCOPE = "Credential=AKIDEXAMPLE/20261128/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0"


class Sqs:
    """Notes what it is called with, and answers or raises what the test wants."""

    name = "sqs"

    def __init__(self) -> None:
        self.calls: list[tuple[Context, dict[str, Any]]] = []
        self.answer: dict[str, Any] | Exception = {}

    def operations(self) -> Mapping[str, Operation]:
        return dict.fromkeys(("SendMessage", "ListQueues", "GetQueueUrl"), self._operation)

    async def _operation(self, context: Context, members: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((context, members))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Node:
    def __init__(self, settings: AppSettings | None = None, trouble: str | None = None) -> None:
        self.sqs = Sqs()
        self.registry = Registry()
        services = [self.sqs, StsService()]
        settings = settings or AppSettings(version="1.2.3")
        self.app = App(services, settings, SystemClock(), self.registry, bytes, lambda: trouble)

    async def json(self, target: str, body: Any, **headers: str) -> Document:
        sent = {"host": "here:4566", "x-amz-target": target, **headers}
        return await self.ask("POST", "/", json.dumps(body), sent)

    async def form(self, body: str = "", path: str = "/", method: str = "POST", host: str = "here:4566") -> Document:
        return await self.ask(method, path, body, {"host": host})

    async def ask(self, method: str, target: str, body: str, headers: Mapping[str, str]) -> Document:
        path, _, query = target.partition("?")
        raw = {name.encode(): value.encode() for name, value in headers.items()}
        return await self.app.answer(Request(method, path, query.encode(), raw, body.encode()))


async def test_a_target_names_the_operation_and_the_credential_who_calls_and_where() -> None:
    node = Node()
    node.sqs.answer = {"MessageId": "m"}
    document = await node.json(
        "AmazonSQS.SendMessage", {"QueueUrl": "q", "MessageBody": "x"}, authorization=f"AWS4-HMAC-SHA256 {SCOPE}"
    )
    assert (document.status, json.loads(document.body)) == (200, {"MessageId": "m"})
    [(context, members)] = node.sqs.calls
    assert members == {"QueueUrl": "q", "MessageBody": "x"}
    assert (context.caller.account, context.caller.region) == ("000000000000", "eu-west-1")
    assert (context.caller.access_key, context.protocol, context.base_url) == (
        "AKIDEXAMPLE",
        "json",
        "http://here:4566",
    )
    assert (b"x-amzn-requestid", context.request_id.encode()) in document.headers


async def test_every_request_has_an_id_of_its_own() -> None:
    node = Node()
    for _ in range(3):
        await node.json("AmazonSQS.ListQueues", {})
    assert len({context.request_id for context, _ in node.sqs.calls}) == 3


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", "Action=GetQueueUrl&Version=2012-11-05&QueueName=q"),
        ("/?Action=GetQueueUrl", "QueueName=q"),
        ("/?Action=GetQueueUrl&QueueName=q", ""),
    ],
)
async def test_an_action_is_found_in_form_and_url(target: str, body: str) -> None:
    node = Node()
    node.sqs.answer = {"QueueUrl": "u"}
    document = await node.form(body, target, "POST" if body else "GET")
    assert document.status == 200
    assert b"<GetQueueUrlResult><QueueUrl>u</QueueUrl></GetQueueUrlResult>" in document.body
    assert [members for _, members in node.sqs.calls] == [{"QueueName": "q"}]
    assert node.sqs.calls[0][0].protocol == "query"


async def test_a_queue_url_may_be_the_address_that_is_called() -> None:
    node = Node()
    await node.form("Action=SendMessage&MessageBody=x", "/000000000000/orders")
    await node.form("Action=SendMessage&MessageBody=x&QueueUrl=other", "/000000000000/orders")
    urls = [members["QueueUrl"] for _, members in node.sqs.calls]
    assert urls == ["http://here:4566/000000000000/orders", "other"]


async def test_the_public_url_takes_the_place_of_the_host() -> None:
    node = Node(AppSettings("https://queues.example.org/"))
    await node.json("AmazonSQS.ListQueues", {})
    assert node.sqs.calls[0][0].base_url == "https://queues.example.org"


async def test_the_region_is_in_the_host_where_nothing_is_signed() -> None:
    node = Node()
    await node.form("Action=ListQueues", host="sqs.ap-southeast-2.localhost:4566")
    await node.form("Action=ListQueues")
    assert [context.caller.region for context, _ in node.sqs.calls] == ["ap-southeast-2", "us-east-1"]


async def test_errors_of_an_operation_are_told_in_the_caller_s_protocol() -> None:
    node = Node()
    node.sqs.answer = AwsError("QueueDoesNotExist", "none", query_code="AWS.SimpleQueueService.NonExistentQueue")
    document = await node.json("AmazonSQS.ListQueues", {})
    assert document.status == 400
    assert json.loads(document.body) == {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "none"}
    assert (b"x-amzn-query-error", b"AWS.SimpleQueueService.NonExistentQueue;Sender") in document.headers
    document = await node.form("Action=ListQueues")
    assert document.status == 400
    assert b"<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in document.body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValueError("secret"), 500, "InternalFailure"),
        (Overloaded("too much"), 503, "ServiceUnavailable"),
        (InvalidArgument("wrong"), 400, "InvalidParameterValue"),
    ],
)
async def test_other_errors_are_named_and_say_nothing_of_the_inside(error: Exception, status: int, code: str) -> None:
    node = Node()
    node.sqs.answer = error
    document = await node.json("AmazonSQS.ListQueues", {})
    assert (document.status, json.loads(document.body)["__type"].rpartition("#")[2]) == (status, code)
    assert b"secret" not in document.body


async def test_what_names_no_operation_is_told_so() -> None:
    node = Node()
    assert (await node.json("AmazonSQS.Fly", {})).status == 400
    assert (await node.json("AmazonSNS.Publish", {})).status == 400
    assert (await node.form(method="GET")).status == 404
    document = await node.form("Action=Fly&Version=2012-11-05")
    assert document.status == 400
    assert b"<Code>InvalidAction</Code>" in document.body
    assert b"Could not find operation Fly for version 2012-11-05." in document.body


async def test_what_the_model_requires_is_asked_for() -> None:
    document = await Node().json("AmazonSQS.SendMessage", {"QueueUrl": "q"})
    assert document.status == 400
    assert json.loads(document.body)["message"] == "The request must contain the parameter MessageBody."


async def test_who_am_i() -> None:
    node = Node()
    headers = {"host": "h", "authorization": f"AWS4-HMAC-SHA256 {SCOPE}".replace("AKIDEXAMPLE", "123456789012")}
    headers["authorization"] = headers["authorization"].replace("/sqs/", "/sts/")
    document = await node.ask("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", headers)
    assert document.status == 200
    assert b"<Account>123456789012</Account>" in document.body
    assert b"<Arn>arn:aws:iam::123456789012:root</Arn>" in document.body


async def test_health() -> None:
    node = Node()
    assert (await node.form(path="/livez", method="GET")).body == b"ok\n"
    assert (await node.form(path="/readyz", method="GET")).status == 200
    page = json.loads((await node.form(path="/_localstack/health", method="GET")).body)
    assert page == {"services": {"sqs": "running", "sts": "running"}, "edition": "threefold", "version": "1.2.3"}


async def test_health_of_a_node_that_is_not_ready() -> None:
    node = Node(trouble="no leader")
    assert (await node.form(path="/livez", method="GET")).status == 200
    assert (await node.form(path="/readyz", method="GET"))[::2] == (503, b"no leader\n")
    page = json.loads((await node.form(path="/_localstack/health", method="GET")).body)
    assert page["services"] == {"sqs": "starting", "sts": "starting"}


async def test_calls_are_counted_by_operation_and_outcome() -> None:
    node = Node()
    await node.json("AmazonSQS.ListQueues", {})
    node.sqs.answer = AwsError("QueueDoesNotExist", "none", query_code="AWS.SimpleQueueService.NonExistentQueue")
    await node.json("AmazonSQS.ListQueues", {})
    text = (await render(node.registry)).decode()
    assert 'broker_aws_calls_total{service="sqs",operation="ListQueues",code="OK"} 1' in text
    assert 'code="AWS.SimpleQueueService.NonExistentQueue"' in text
    assert 'broker_aws_call_seconds_count{service="sqs",operation="ListQueues"} 2' in text

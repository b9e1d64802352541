"""Services of every protocol behind one port; what they do is to say what they were asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import cbor2
import pytest

from broker.aio.system_clock import SystemClock
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.contract import AwsError, Context, Operation
from broker.edge.aws.models import load
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.telemetry.metrics import Registry
from tests.unit.edge.aws.protocol.botocore_side import sent_by_botocore, theirs

SERVICES = ("sqs", "sts", "kinesis", "cloudwatch", "cognito-idp", "swf", "apigateway", "apigatewayv2", "scheduler")


class Echo:
    """All operations of a service; notes what it is asked, and answers or raises what the test wants."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] | AwsError = {}

    def operations(self) -> Mapping[str, Operation]:
        return {name: self._operation(name) for name in load(self.name).operations}

    def _operation(self, name: str) -> Operation:
        async def run(_context: Context, members: dict[str, Any]) -> dict[str, Any]:
            self.calls.append((name, members))
            if isinstance(self.answer, AwsError):
                raise self.answer
            return self.answer

        return run


class Port:
    def __init__(self) -> None:
        self.services = {name: Echo(name) for name in SERVICES}
        settings = AppSettings(version="1")
        self._app = App(list(self.services.values()), settings, SystemClock(), Registry(), bytes, lambda: None)

    async def ask(self, service: str, request: Request, **headers: str) -> Document:
        signing_name = load(service).signing_name
        scope = f"Credential=AKIDEXAMPLE/20261128/us-east-1/{signing_name}/aws4_request"
        request.headers[b"authorization"] = f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0".encode()
        request.headers.setdefault(b"host", b"here:4566")
        request.headers.update({name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
        return await self._app.answer(request)


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.mark.parametrize(
    ("service", "protocol", "operation", "members"),
    [
        ("sqs", "json", "SendMessage", {"QueueUrl": "q", "MessageBody": "x"}),
        ("sqs", "smithy-rpc-v2-cbor", "SendMessage", {"QueueUrl": "q", "MessageBody": "x"}),
        ("kinesis", "json", "PutRecord", {"StreamName": "s", "Data": b"\x00", "PartitionKey": "k"}),
        ("kinesis", "smithy-rpc-v2-cbor", "PutRecord", {"StreamName": "s", "Data": b"\x00", "PartitionKey": "k"}),
        ("cloudwatch", "smithy-rpc-v2-cbor", "ListMetrics", {"Namespace": "n"}),
        ("cloudwatch", "json", "ListMetrics", {"Namespace": "n"}),
        ("cloudwatch", "query", "ListMetrics", {"Namespace": "n"}),
        ("cognito-idp", "json", "DescribeUserPool", {"UserPoolId": "p"}),
        ("swf", "json", "DescribeDomain", {"name": "d"}),
        ("sts", "query", "AssumeRole", {"RoleArn": "r", "RoleSessionName": "s"}),
        ("apigateway", "rest-json", "GetRestApi", {"restApiId": "a"}),
        ("apigateway", "rest-json", "GetRestApis", {}),
        ("apigateway", "rest-json", "DeleteMethod", {"restApiId": "a", "resourceId": "r", "httpMethod": "GET"}),
        ("apigateway", "rest-json", "CreateRestApi", {"name": "n"}),
        ("apigateway", "rest-json", "ImportRestApi", {"body": b"{\xff&"}),
        ("apigateway", "rest-json", "PutRestApi", {"restApiId": "a", "body": b"{}"}),
        ("apigateway", "rest-json", "UpdateRestApi", {"restApiId": "a"}),
        ("apigateway", "rest-json", "TagResource", {"resourceArn": "arn:aws:a::/restapis/x", "tags": {"a": "b"}}),
        ("apigatewayv2", "rest-json", "GetApi", {"ApiId": "a"}),
        ("apigatewayv2", "rest-json", "CreateApi", {"Name": "n", "ProtocolType": "HTTP"}),
        ("scheduler", "rest-json", "GetSchedule", {"Name": "n", "GroupName": "g"}),
    ],
)
async def test_what_botocore_sends_arrives(
    port: Port, service: str, protocol: str, operation: str, members: dict[str, Any]
) -> None:
    sent = sent_by_botocore(theirs(service, protocol).operation_model(operation), protocol, members)
    document = await port.ask(service, sent)
    assert document.status < 300, document.body
    assert {name: each.calls for name, each in port.services.items() if each.calls} == {service: [(operation, members)]}


@pytest.mark.parametrize("service", ["apigateway", "apigatewayv2", "scheduler"])
async def test_every_address_is_its_own_operation(port: Port, service: str) -> None:
    """Though some differ in a label's place alone, and two services have one name in the credential."""
    model = theirs(service, "rest-json")
    for operation in model.operation_names:
        shape = model.operation_model(operation).input_shape
        labels = {name: "x" for name, each in shape.members.items() if each.serialization.get("location") == "uri"}
        await port.ask(service, sent_by_botocore(model.operation_model(operation), "rest-json", labels))
        called = [(name, call[0]) for name, each in port.services.items() for call in each.calls]
        refused_for_what_is_missing = not called
        assert refused_for_what_is_missing or called == [(service, operation)]
        port.services[service].calls.clear()


async def test_the_content_type_tells_cbor_from_json(port: Port) -> None:
    target = {"x_amz_target": "Kinesis_20131202.DescribeStream"}
    port.services["kinesis"].answer = AwsError("ResourceNotFoundException", "no stream")
    request = Request("POST", "/", b"", {}, cbor2.dumps({"StreamName": "s"}))
    document = await port.ask("kinesis", request, content_type="application/x-amz-cbor-1.1", **target)
    assert cbor2.loads(document.body)["message"] == "no stream"
    request = Request("POST", "/", b"", {}, json.dumps({"StreamName": "s"}).encode())
    document = await port.ask("kinesis", request, content_type="application/x-amz-json-1.1", **target)
    assert json.loads(document.body)["message"] == "no stream"
    assert port.services["kinesis"].calls == [("DescribeStream", {"StreamName": "s"})] * 2


async def test_a_path_that_there_is_not_is_told_in_the_protocol_of_the_service(port: Port) -> None:
    document = await port.ask("apigateway", Request("GET", "/nothing/here", b"", {}, b""))
    assert (document.status, dict(document.headers)[b"x-amzn-errortype"]) == (404, b"UnknownOperationException")
    document = await port.ask(
        "kinesis",
        Request("POST", "/service/Kinesis_20131202/operation/Fly", b"", {}, b""),
        smithy_protocol="rpc-v2-cbor",
    )
    assert cbor2.loads(document.body)["__type"] == "com.amazon.coral.service#UnknownOperationException"
    request = Request("POST", "/", b"", {}, b"\xa0")
    document = await port.ask(
        "kinesis", request, x_amz_target="Kinesis_20131202.Fly", content_type="application/x-amz-cbor-1.1"
    )
    assert document.status == 400
    assert cbor2.loads(document.body)["__type"] == "com.amazon.coral.service#UnknownOperationException"


async def test_the_name_of_the_host_stands_in_for_a_credential(port: Port) -> None:
    request = Request("GET", "/restapis", b"", {b"host": b"apigateway.eu-west-1.localhost:4566"}, b"")
    await port._app.answer(request)
    assert port.services["apigateway"].calls == [("GetRestApis", {})]


async def test_a_body_that_is_no_form_is_not_read_as_one(port: Port) -> None:
    body = b"Action=ListQueues"
    document = await port.ask("sqs", Request("POST", "/", b"", {}, body), content_type="application/json")
    assert (document.status, port.services["sqs"].calls) == (404, [])
    await port.ask("sqs", Request("POST", "/", b"", {}, body))
    assert port.services["sqs"].calls == [("ListQueues", {})]

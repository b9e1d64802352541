"""Requests as SDKs write them whose programs cannot be run here: byte by byte what they send, and what they read of the
answer.

Java 2 (and Spring Cloud AWS on it): JSON with ``x-amzn-query-mode``, the error's code from ``x-amzn-query-error``.
Java 1, Go 1 and others of their time: the query protocol, called at the queue's URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import md5
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import pytest

from tests.conformance.sqs.nodes import ACCOUNT, NAMESPACE, REGION, TIMEOUT

SCOPE = f"AKIDEXAMPLE/20261128/{REGION}/sqs/aws4_request"
SIGNED = (
    "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode"
)
BODY = '{"order": 1, "name": "é"}'


class Java:
    """The SDK of version 2, on one connection that it keeps."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc
        self._connection = HTTPConnection(self._host, timeout=TIMEOUT)
        self._calls = 0

    def __call__(self, operation: str, content: dict[str, Any]) -> tuple[HTTPResponse, dict[str, Any]]:
        self._calls += 1
        headers = {
            "Host": self._host,
            "amz-sdk-invocation-id": f"5c0a8d2e-0000-4000-8000-{self._calls:012}",
            "amz-sdk-request": "attempt=1; max=4",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={SIGNED}, Signature={'0' * 64}",
            "Content-Type": "application/x-amz-json-1.0",
            "User-Agent": "aws-sdk-java/2.29.0 md/io#async md/http#NettyNio ua/2.1 api/SQS#2.29.0",
            "X-Amz-Date": "20261128T120000Z",
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "x-amzn-query-mode": "true",
        }
        self._connection.request("POST", "/", json.dumps(content, ensure_ascii=False).encode(), headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.getheader("Content-Type") == "application/x-amz-json-1.0"
        assert answer.getheader("x-amzn-RequestId")
        return answer, json.loads(body) if body else {}

    def taken(self, operation: str, **content: Any) -> dict[str, Any]:
        answer, said = self(operation, content)
        assert answer.status == 200, said
        return said

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def java(endpoint: str) -> Iterator[Java]:
    made = Java(endpoint)
    yield made
    made.close()


def test_a_listener_of_spring(java: Java, name: str) -> None:
    """Looks for the queue, makes it as it is not there, asks for its attributes, polls, acknowledges in a batch."""
    answer, said = java("GetQueueUrl", {"QueueName": name})
    assert answer.status == 400
    assert answer.getheader("x-amzn-query-error") == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert said["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"
    url = java.taken("CreateQueue", QueueName=name)["QueueUrl"]
    assert java.taken("GetQueueUrl", QueueName=name) == {"QueueUrl": url}
    asked = java.taken("GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn", "VisibilityTimeout"])
    assert asked == {"Attributes": {"QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "VisibilityTimeout": "30"}}

    kind = {"contentType": {"DataType": "String", "StringValue": "application/json"}}
    entries = [{"Id": str(number), "MessageBody": BODY, "MessageAttributes": kind} for number in range(3)]
    sent = java.taken("SendMessageBatch", QueueUrl=url, Entries=entries)
    assert [each["Id"] for each in sent["Successful"]] == ["0", "1", "2"]
    assert "Failed" not in sent or sent["Failed"] == []

    poll = {
        "QueueUrl": url,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 10,
        "MessageAttributeNames": ["All"],
        "AttributeNames": ["All"],
        "MessageSystemAttributeNames": ["All"],
    }
    messages = []
    while len(messages) < 3:
        messages += java.taken("ReceiveMessage", **poll)["Messages"]
    for message in messages:
        assert (message["Body"], message["MD5OfBody"]) == (BODY, md5(BODY.encode()).hexdigest())
        assert message["MessageAttributes"] == kind
        assert int(message["Attributes"]["SentTimestamp"]) <= int(
            message["Attributes"]["ApproximateFirstReceiveTimestamp"]
        )
    (first, *rest) = (message["ReceiptHandle"] for message in messages)
    changed = java.taken("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=first, VisibilityTimeout=0)
    assert changed == {}
    acknowledged = [{"Id": str(place), "ReceiptHandle": handle} for place, handle in enumerate(rest)]
    done = java.taken("DeleteMessageBatch", QueueUrl=url, Entries=acknowledged)
    assert [each["Id"] for each in done["Successful"]] == ["0", "1"]
    (again,) = java.taken("ReceiveMessage", **poll)["Messages"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_query_protocol_at_the_url_of_the_queue(endpoint: str, queue: str, method: str) -> None:
    """Java 1 names the queue in the address alone, Go 1 in the form, too."""
    connection = HTTPConnection(urlsplit(endpoint).netloc, timeout=TIMEOUT)

    def call(action: str, **fields: str) -> ElementTree.Element:
        form = urlencode({"Action": action, "Version": "2012-11-05", **fields})
        authorization = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature={'0' * 64}"
        headers = {"Authorization": authorization, "User-Agent": "aws-sdk-java/1.12.470"}
        path = urlsplit(queue).path + "/" * (method == "GET")
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
            connection.request("POST", path, form, headers)
        else:
            connection.request("GET", f"{path}?{form}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/xml"), body
        return ElementTree.fromstring(body)

    sent = call("SendMessage", MessageBody=BODY)
    assert sent.findtext(f".//{NAMESPACE}MD5OfMessageBody") == md5(BODY.encode()).hexdigest()
    received = call("ReceiveMessage", **{"AttributeName.1": "All", "MessageAttributeName.1": "All", "QueueUrl": queue})
    assert received.findtext(f".//{NAMESPACE}Message/{NAMESPACE}Body") == BODY
    handle = received.findtext(f".//{NAMESPACE}ReceiptHandle")
    assert handle
    call("DeleteMessage", ReceiptHandle=handle)
    connection.close()

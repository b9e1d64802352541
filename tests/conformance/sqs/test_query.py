"""The older query protocol, form by form as the API Reference shows it: every operation, and errors in XML."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import md5
from typing import Any

import pytest

from tests.conformance.sqs.nodes import ACCOUNT, NAMESPACE, REGION, Form, Refusal, pairs, texts

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"


def test_queues(form: Form, endpoint: str, name: str) -> None:
    created = form(
        "CreateQueue",
        QueueName=name,
        **{"Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "7", "Tag.1.Key": "team", "Tag.1.Value": "a"},
    )
    (url,) = texts(created, "QueueUrl")
    found = pairs(form("GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "All"}), "Attribute")

    assert url == f"{endpoint}/{ACCOUNT}/{name}"
    assert texts(form("GetQueueUrl", QueueName=name), "QueueUrl") == [url]
    assert texts(form("ListQueues", QueueNamePrefix=name), "QueueUrl") == [url]
    assert (found["DelaySeconds"], found["QueueArn"]) == ("7", ARN + name)
    form("SetQueueAttributes", QueueUrl=url, **{"Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "0"})
    told = form("GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "DelaySeconds"})
    assert pairs(told, "Attribute") == {"DelaySeconds": "0"}
    form("TagQueue", QueueUrl=url, **{"Tag.1.Key": "stage", "Tag.1.Value": "test"})
    form("UntagQueue", QueueUrl=url, **{"TagKey.1": "team"})
    assert pairs(form("ListQueueTags", QueueUrl=url), "Tag", "Key") == {"stage": "test"}
    permission = {"Label": "one", "AWSAccountId.1": "123456789012", "ActionName.1": "SendMessage"}
    form("AddPermission", QueueUrl=url, **permission)
    form("RemovePermission", QueueUrl=url, Label="one")
    form("PurgeQueue", QueueUrl=url)
    form("DeleteQueue", QueueUrl=url)
    gone = form.refused("GetQueueUrl", QueueName=name)
    assert gone == Refusal(
        "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist for this wsdl version.", 400
    )


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_message_with_the_queue_as_endpoint(form: Form, queue: str, name: str, method: str) -> None:
    path = f"/{ACCOUNT}/{name}"
    sent = form(
        "SendMessage",
        path,
        method,
        MessageBody="a <&> b\t",
        **{
            "MessageAttribute.1.Name": "text",
            "MessageAttribute.1.Value.DataType": "String",
            "MessageAttribute.1.Value.StringValue": "v",
            "MessageAttribute.2.Name": "bytes",
            "MessageAttribute.2.Value.DataType": "Binary",
            "MessageAttribute.2.Value.BinaryValue": b64encode(b"\x00\xff").decode(),
            "MessageSystemAttribute.1.Name": "AWSTraceHeader",
            "MessageSystemAttribute.1.Value.DataType": "String",
            "MessageSystemAttribute.1.Value.StringValue": "Root=1",
        },
    )
    received = form(
        "ReceiveMessage",
        path,
        method,
        **{"MaxNumberOfMessages": 10, "AttributeName.1": "All", "MessageAttributeName.1": "All"},
    )

    (message,) = received.findall(NAMESPACE + "Message")
    body = message.findtext(NAMESPACE + "Body") or ""
    assert body == "a <&> b\t"
    assert texts(message, "MD5OfBody") == [md5(body.encode()).hexdigest()] == texts(sent, "MD5OfMessageBody")
    assert texts(message, "MD5OfMessageAttributes") == texts(sent, "MD5OfMessageAttributes")
    assert texts(message, "MessageId") == texts(sent, "MessageId")
    assert pairs(message, "Attribute")["AWSTraceHeader"] == "Root=1"
    attributes = {
        found.findtext(NAMESPACE + "Name"): found.find(NAMESPACE + "Value")
        for found in message.findall(NAMESPACE + "MessageAttribute")
    }
    assert {name: texts(value, "DataType") for name, value in attributes.items() if value is not None} == {
        "text": ["String"],
        "bytes": ["Binary"],
    }
    (handle,) = texts(message, "ReceiptHandle")
    form("ChangeMessageVisibility", path, method, ReceiptHandle=handle, VisibilityTimeout=60)
    form("DeleteMessage", path, method, ReceiptHandle=handle)
    assert form("ReceiveMessage", path, method).findall(NAMESPACE + "Message") == []


def test_batches(form: Form, queue: str) -> None:
    entry = "SendMessageBatchRequestEntry"
    sent = form(
        "SendMessageBatch",
        QueueUrl=queue,
        **{
            f"{entry}.1.Id": "a",
            f"{entry}.1.MessageBody": "x",
            f"{entry}.2.Id": "b",
            f"{entry}.2.MessageBody": "y",
            f"{entry}.2.DelaySeconds": "901",
        },
    )
    (message,) = form("ReceiveMessage", QueueUrl=queue).findall(NAMESPACE + "Message")
    (handle,) = texts(message, "ReceiptHandle")
    entry = "ChangeMessageVisibilityBatchRequestEntry"
    given: dict[str, Any] = {f"{entry}.1.Id": "a", f"{entry}.1.ReceiptHandle": handle}
    changed = form("ChangeMessageVisibilityBatch", QueueUrl=queue, **given, **{f"{entry}.1.VisibilityTimeout": 60})
    entry = "DeleteMessageBatchRequestEntry"
    given = {f"{entry}.1.Id": "a", f"{entry}.1.ReceiptHandle": handle, f"{entry}.2.Id": "b"}
    deleted = form("DeleteMessageBatch", QueueUrl=queue, **given, **{f"{entry}.2.ReceiptHandle": "none"})

    (good,) = sent.findall(NAMESPACE + "SendMessageBatchResultEntry")
    (bad,) = sent.findall(NAMESPACE + "BatchResultErrorEntry")
    assert (texts(good, "Id"), texts(bad, "Id")) == (["a"], ["b"])
    assert (texts(bad, "Code"), texts(bad, "SenderFault")) == (["InvalidParameterValue"], ["true"])
    assert len(changed.findall(NAMESPACE + "ChangeMessageVisibilityBatchResultEntry")) == 1
    assert len(deleted.findall(NAMESPACE + "DeleteMessageBatchResultEntry")) == 1
    (bad,) = deleted.findall(NAMESPACE + "BatchResultErrorEntry")
    assert texts(bad, "Code") == ["ReceiptHandleIsInvalid"]


def test_dead_letters(form: Form, sqs: Any, queue: str, name: str) -> None:
    policy = json.dumps({"deadLetterTargetArn": ARN + name, "maxReceiveCount": 3})
    (source,) = texts(
        form(
            "CreateQueue",
            QueueName=name + "-source",
            **{"Attribute.1.Name": "RedrivePolicy", "Attribute.1.Value": policy},
        ),
        "QueueUrl",
    )
    assert texts(form("ListDeadLetterSourceQueues", QueueUrl=queue), "QueueUrl") == [source]
    for number in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    (task,) = texts(
        form(
            "StartMessageMoveTask",
            SourceArn=ARN + name,
            DestinationArn=f"{ARN}{name}-source",
            MaxNumberOfMessagesPerSecond=1,
        ),
        "TaskHandle",
    )
    listed = form("ListMessageMoveTasks", SourceArn=ARN + name, MaxResults=5)
    assert listed.find(f".//{NAMESPACE}SourceArn") is not None
    form("CancelMessageMoveTask", TaskHandle=task)


def test_errors(form: Form, queue: str, name: str) -> None:
    assert form.refused("CreateQueue", QueueName="a b") == Refusal(
        "InvalidParameterValue",
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        400,
    )
    changed = {"Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "9"}
    assert form.refused("CreateQueue", QueueName=name, **changed).code == "QueueAlreadyExists"
    assert form.refused("DeleteMessage", QueueUrl=queue, ReceiptHandle="none") == Refusal(
        "ReceiptHandleIsInvalid", 'The input receipt handle "none" is not a valid receipt handle.', 404
    )
    form("PurgeQueue", QueueUrl=queue)
    again = form.refused("PurgeQueue", QueueUrl=queue)
    assert (again.code, again.status) == ("AWS.SimpleQueueService.PurgeQueueInProgress", 403)
    assert form.refused("SendMessageBatch", QueueUrl=queue) == Refusal(
        "AWS.SimpleQueueService.EmptyBatchRequest",
        "There should be at least one SendMessageBatchRequestEntry in the request.",
        400,
    )
    missing = form.refused("SendMessage", QueueUrl=queue)
    assert missing == Refusal("MissingParameter", "The request must contain the parameter MessageBody.", 400)
    unknown = form.refused("Fly", QueueUrl=queue)
    assert (unknown.code, unknown.status) == ("InvalidAction", 400)
    assert form.refused("SendMessage", QueueUrl="orders", MessageBody="x") == Refusal(
        "InvalidAddress", "The address orders is not valid for this endpoint.", 404
    )

"""Messages with boto3, which checks every digest by itself: send, receive, settle, alone and in batches."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from threading import Thread
from time import monotonic
from typing import Any

from tests.conformance.sqs.nodes import Refusal, refused

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
INVALID = ("InvalidParameterValue", 400, "InvalidParameterValueException")


def test_a_message_goes_all_its_way(sqs: Any, queue: str) -> None:
    sent = sqs.send_message(
        QueueUrl=queue,
        MessageBody="körper \U0001f980 <&>\t",
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "wörd"},
            "number": {"DataType": "Number.int", "StringValue": "7"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}},
    )
    (received,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], AttributeNames=["All"])["Messages"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = sqs.receive_message(QueueUrl=queue, MessageSystemAttributeNames=["ApproximateReceiveCount"])["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    gone = sqs.receive_message(QueueUrl=queue)

    assert received["MessageId"] == again["MessageId"] == sent["MessageId"]
    assert received["Body"] == "körper \U0001f980 <&>\t"
    assert received["MessageAttributes"]["bytes"] == {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    assert received["Attributes"]["AWSTraceHeader"] == TRACE
    assert received["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert "Messages" not in gone


def test_batches_fail_entry_by_entry(sqs: Any, queue: str) -> None:
    sent = sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "a", "MessageBody": "a"},
            {"Id": "b", "MessageBody": "b", "DelaySeconds": 901},
            {"Id": "c", "MessageBody": "c"},
        ],
    )
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(received)]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=queue, Entries=[{**entry, "VisibilityTimeout": 60} for entry in entries]
    )
    deleted = sqs.delete_message_batch(QueueUrl=queue, Entries=[*entries, {"Id": "x", "ReceiptHandle": "none"}])

    assert [each["Id"] for each in sent["Successful"]] == ["a", "c"]
    (failed,) = sent["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("b", "InvalidParameterValue", True)
    assert (len(changed["Successful"]), changed.get("Failed", [])) == (2, [])
    assert [each["Id"] for each in deleted["Successful"]] == ["0", "1"]
    assert [(each["Id"], each["Code"]) for each in deleted["Failed"]] == [("x", "ReceiptHandleIsInvalid")]


def test_a_message_of_a_mebibyte(sqs: Any, queue: str) -> None:
    body = "x" * 1_048_576
    sqs.send_message(QueueUrl=queue, MessageBody=body)
    (received,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert received["Body"] == body
    assert refused(sqs, "send_message", QueueUrl=queue, MessageBody=body + "x") == Refusal(
        "InvalidParameterValue",
        "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.",
        400,
        "InvalidParameterValueException",
    )


def test_ten_messages_of_a_mebibyte_together(sqs: Any, queue: str) -> None:
    entries = [{"Id": str(number), "MessageBody": "x" * 104_857} for number in range(10)]
    assert len(sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == 10
    entries[0]["MessageBody"] += "x" * 7
    refusal = refused(sqs, "send_message_batch", QueueUrl=queue, Entries=entries)
    assert refusal == Refusal(
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
        400,
        "BatchRequestTooLong",
    )


def test_fifo_order_and_deduplication(sqs: Any, fifo: str) -> None:
    sent = [sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId="g") for body in ("a", "b", "a", "c")]
    received = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10, AttributeNames=["All"])["Messages"]

    assert [each["Body"] for each in received] == ["a", "b", "c"]
    assert sent[0]["MessageId"] == sent[2]["MessageId"]
    numbers = [each["Attributes"]["SequenceNumber"] for each in received]
    assert (
        numbers == sorted(numbers) == [sent[0]["SequenceNumber"], sent[1]["SequenceNumber"], sent[3]["SequenceNumber"]]
    )
    assert {each["Attributes"]["MessageGroupId"] for each in received} == {"g"}


def test_a_long_poll_is_woken_by_a_send(sqs: Any, queue: str) -> None:
    found: list[Any] = []
    poll = Thread(target=lambda: found.append(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)))
    began = monotonic()
    poll.start()
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    poll.join()

    assert [message["Body"] for message in found[0]["Messages"]] == ["x"]
    assert monotonic() - began < 15  # it did not wait to its end


def test_clients_that_hang_up_while_they_wait_take_nothing(sqs: Any, endpoint: str, queue: str) -> None:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    content = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: {host}:{port}\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with ExitStack() as hanging_up:
        for _ in range(20):
            poll = hanging_up.enter_context(socket.create_connection((host, int(port))))
            poll.sendall(head.encode() + content)
        sqs.list_queue_tags(QueueUrl=queue)  # by then the node has begun to answer them
    sqs.list_queue_tags(QueueUrl=queue)  # and has seen that they are gone
    sqs.send_message(QueueUrl=queue, MessageBody="x")

    (received,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, AttributeNames=["All"])["Messages"]

    assert received["Attributes"]["ApproximateReceiveCount"] == "1"


def test_numbers_beyond_their_limits(sqs: Any, queue: str) -> None:
    for given, reason in (
        ({"MaxNumberOfMessages": 0}, "Must be between 1 and 10, if provided."),
        ({"MaxNumberOfMessages": 11}, "Must be between 1 and 10, if provided."),
        ({"WaitTimeSeconds": -1}, "Must be >= 0 and <= 20, if provided."),
        ({"WaitTimeSeconds": 21}, "Must be >= 0 and <= 20, if provided."),
    ):
        ((parameter, value),) = given.items()
        refusal = refused(sqs, "receive_message", QueueUrl=queue, **given)
        assert (refusal.code, refusal.status, refusal.shape) == INVALID
        assert refusal.message == f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"


def test_wrong_types_and_missing_members_are_refused(sqs: Any, queue: str) -> None:
    assert refused(sqs, "send_message", QueueUrl=queue).status == 400
    assert refused(sqs, "send_message", QueueUrl=queue, MessageBody=7).status == 400
    assert refused(sqs, "send_message", QueueUrl=queue, MessageBody="x", DelaySeconds="soon").status == 400
    assert refused(sqs, "receive_message", QueueUrl=queue, MaxNumberOfMessages=[]).status == 400
    assert refused(sqs, "delete_message", QueueUrl=queue).status == 400
    missing = refused(sqs, "send_message", QueueUrl=queue, MessageBody="")
    assert missing == Refusal(
        "MissingParameter",
        "The request must contain the parameter MessageBody.",
        400,
        "MissingRequiredParameterException",
    )


def test_a_queue_that_is_not_there(sqs: Any, queue: str) -> None:
    for operation, given in (
        ("send_message", {"MessageBody": "x"}),
        ("receive_message", {}),
        ("delete_message", {"ReceiptHandle": "x"}),
        ("purge_queue", {}),
        ("get_queue_attributes", {"AttributeNames": ["All"]}),
        ("list_queue_tags", {}),
    ):
        refusal = refused(sqs, operation, QueueUrl=queue + "-none", **given)
        assert refusal == Refusal(
            "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.", 400, "QueueDoesNotExist"
        )


def test_handles_that_are_none_and_characters_that_cannot_be(sqs: Any, queue: str) -> None:
    for handle in ("none", "ä\U0001f980", ""):
        refusal = refused(sqs, "delete_message", QueueUrl=queue, ReceiptHandle=handle)
        assert (refusal.code, refusal.status) == ("ReceiptHandleIsInvalid", 400)
    for body in ("\x00", "\x0b", "\ufffe"):
        refusal = refused(sqs, "send_message", QueueUrl=queue, MessageBody=body)
        assert (refusal.code, refusal.status) == ("InvalidMessageContents", 400)
    refusal = refused(sqs, "send_message", QueueUrl=queue, MessageBody="\ud800")  # no text at all
    assert (refusal.code, refusal.status) == ("SerializationException", 400)

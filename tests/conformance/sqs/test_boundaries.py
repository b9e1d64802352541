"""Every bound of SQS's requests: one below, the least, the most, one above; in both protocols; errors in code, status
and message. And that no member with a bound is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import Shape

from tests.conformance.sqs.bounds import ATTRIBUTES, COUNTS, ENTRY_BODY, LENGTHS, NUMBERS, Bound
from tests.conformance.sqs.nodes import ACCOUNT, REGION
from tests.conformance.sqs.speaking import PROTOCOLS, Answer, Protocol, ask
from tests.conformance.sqs.test_model import MODEL

BOUNDS = [*NUMBERS, *LENGTHS, *COUNTS, *ATTRIBUTES]
ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
UNBOUNDED = {
    "QueueUrl", "QueueOwnerAWSAccountId", "QueueNamePrefix", "NextToken", "ReceiptHandle", "TaskHandle",
    "SourceArn", "DestinationArn", "MessageBody", "StringValue", "DataType",
}  # fmt: skip
"""Texts that are looked up or understood as a whole, and bodies, whose limit has tests of its own."""
LOOKED_UP = {("GetQueueUrl", "QueueName"), ("RemovePermission", "Label")}


class Asking:
    """A queue of its own for each request: whether one is refused must not depend on the one before."""

    def __init__(self, sqs: Any, endpoint: str, name: str) -> None:
        self._sqs = sqs
        self._endpoint = endpoint
        self._name = name
        self._count = 0

    def __call__(self, protocol: Protocol, bound: Bound, size: int) -> Answer:
        self._count += 1
        members = self._members(bound, f"{self._name}-{self._count}")
        _put(members, bound.path.split("."), bound.make(size))
        return ask(self._endpoint, protocol, bound.operation, members)

    def _members(self, bound: Bound, name: str) -> dict[str, Any]:
        """What makes the operation succeed."""
        operation = bound.operation
        if operation == "ListQueues":
            return {}
        if operation == "CreateQueue":
            return {"QueueName": name}
        url = self._queue(name, bound.fifo)
        if operation in ("StartMessageMoveTask", "ListMessageMoveTasks"):
            policy = json.dumps({"deadLetterTargetArn": ARN + name, "maxReceiveCount": 1})
            self._sqs.create_queue(QueueName=name + "-source", Attributes={"RedrivePolicy": policy})
            return {"SourceArn": ARN + name}
        group = {"MessageGroupId": "g"} if bound.fifo else {}
        if operation == "SendMessage":
            return {"QueueUrl": url, "MessageBody": "x", **group}
        if operation == "SendMessageBatch":
            return {"QueueUrl": url, "Entries": [{**ENTRY_BODY, **group}]}
        if operation == "AddPermission":
            return {"QueueUrl": url, "AWSAccountIds": ["123456789012"], "Actions": ["SendMessage"]}
        self._sqs.send_message(QueueUrl=url, MessageBody="x", **group)
        if operation.startswith(("ChangeMessageVisibility", "DeleteMessage")):
            (message,) = self._sqs.receive_message(QueueUrl=url)["Messages"]
            given: dict[str, Any] = {"ReceiptHandle": message["ReceiptHandle"]}
            if operation == "ChangeMessageVisibilityBatch":
                given["VisibilityTimeout"] = 0
            return {"QueueUrl": url, **({"Entries": [{"Id": "a", **given}]} if "Batch" in operation else given)}
        return {"QueueUrl": url}

    def _queue(self, name: str, fifo: bool) -> str:
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
        return str(self._sqs.create_queue(QueueName=name + ".fifo" * fifo, Attributes=attributes)["QueueUrl"])


@pytest.fixture
def asking(sqs: Any, endpoint: str, name: str) -> Asking:
    return Asking(sqs, endpoint, name)


def _put(members: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        inner = members.setdefault(step, {})
        members = inner[0] if isinstance(inner, list) else inner
    if path[-1] == "DataType":
        members["StringValue"] = "x"
    members[path[-1]] = value


def _name(bound: Bound) -> str:
    return f"{bound.operation}-{bound.path}-{bound.least}-{bound.most}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bound", BOUNDS, ids=_name)
def test_within_its_bounds_it_is_taken(asking: Asking, bound: Bound, protocol: Protocol) -> None:
    for size in (bound.least, bound.most - bound.margin):
        answer = asking(protocol, bound, size)
        assert answer.status == 200, answer
        assert answer.failed == () or bound in COUNTS  # whose handles are none


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bound", BOUNDS, ids=_name)
def test_beyond_its_bounds_it_is_refused_in_the_words_of_sqs(asking: Asking, bound: Bound, protocol: Protocol) -> None:
    for size in _beyond(bound, protocol):
        answer = asking(protocol, bound, size)
        said = bound.says(bound.make(size))
        if bound.in_batch:
            assert answer == Answer(200, failed=((bound.code, said),))
            continue
        shape = f"com.amazonaws.sqs#{bound.shape}" if protocol == "json" else ""
        assert answer == Answer(400, bound.code, said, shape)


def _beyond(bound: Bound, protocol: Protocol) -> Iterator[int]:
    """Below a length of 1 there is a text without letters, which in some places is no text at all."""
    if bound in COUNTS:
        yield 0 if "at least one" in bound.says(None) else bound.most + 1
        return
    if bound in NUMBERS or bound in ATTRIBUTES or (bound.least == 1 and not _empty_is_none(bound)):
        yield bound.least - 1
    yield bound.most + 1


def _empty_is_none(bound: Bound) -> bool:
    return bound.path == "ReceiveRequestAttemptId"


CHOICES = {
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("messageGroup", "queue"),
    "FifoThroughputLimit": ("perQueue",),
    "SqsManagedSseEnabled": ("true", "false"),
}
"""Of a FIFO queue. The other throughput limit wants the scope that goes with it."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attribute", CHOICES)
def test_attributes_with_a_choice(sqs: Any, endpoint: str, fifo: str, attribute: str, protocol: Protocol) -> None:
    def set_to(value: str) -> Answer:
        members = {"QueueUrl": fifo, "Attributes": {attribute: value}}
        return ask(endpoint, protocol, "SetQueueAttributes", members)

    for value in CHOICES[attribute]:
        assert set_to(value) == Answer(200)
        told = sqs.get_queue_attributes(QueueUrl=fifo, AttributeNames=[attribute])["Attributes"]
        assert told == {attribute: value}
    shape = "com.amazonaws.sqs#InvalidAttributeValue" if protocol == "json" else ""
    refusal = Answer(400, "InvalidAttributeValue", f"Invalid value for the parameter {attribute}.", shape)
    assert set_to("perhaps") == refusal


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_receives_before_a_message_is_dead(sqs: Any, endpoint: str, queue: str, name: str, protocol: Protocol) -> None:
    source = sqs.create_queue(QueueName=name + "-source")["QueueUrl"]
    for count in (0, 1, 1_000, 1_001):
        policy = json.dumps({"deadLetterTargetArn": ARN + name, "maxReceiveCount": count})
        members = {"QueueUrl": source, "Attributes": {"RedrivePolicy": policy}}
        answer = ask(endpoint, protocol, "SetQueueAttributes", members)
        if count in (1, 1_000):
            assert answer == Answer(200)
            continue
        assert (answer.status, answer.code) == (400, "InvalidParameterValue")
        reason = f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
        assert answer.message == f"Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"


def test_every_member_that_has_a_bound_is_here() -> None:
    known = {(bound.operation, bound.path) for bound in BOUNDS} | LOOKED_UP
    for operation in MODEL.operation_names:
        for path, shape in _leaves(MODEL.operation_model(operation).input_shape, ""):
            last = path.rpartition(".")[2]
            is_scalar = shape.type_name in ("integer", "string") and not getattr(shape, "enum", None)
            if (is_scalar and last not in UNBOUNDED) or last == "Entries":
                assert (operation, path) in known, (operation, path)


def _leaves(shape: Shape | None, path: str) -> Iterator[tuple[str, Shape]]:
    if shape is None:
        return
    for name, member in shape.members.items():
        inner = f"{path}{name}"
        yield inner, member
        if member.type_name == "list" and member.member.type_name == "structure":
            yield from _leaves(member.member, f"{inner}.")

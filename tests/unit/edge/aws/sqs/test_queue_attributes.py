"""Attributes of queues: defaults, every limit, what is only told, and what is kept and told again."""

from __future__ import annotations

import json

import pytest

from broker.services.administering import AttributeChanges
from tests.unit.edge.aws.sqs.calling import started
from tests.unit.services.running import soon

INVALID = "InvalidParameterValueException"
KMS_OR_SQS = (
    "InvalidAttributeName",
    "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.",
)


async def test_all_attributes_of_a_new_standard_queue() -> None:
    sqs = await started()
    url = await sqs.create()
    created = str(sqs.cluster.clock.wall() // 1_000)
    assert await sqs.attributes(url) == {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "CreatedTimestamp": created,
        "DelaySeconds": "0",
        "LastModifiedTimestamp": created,
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": "arn:aws:sqs:us-east-1:000000000000:orders",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "false",
        "VisibilityTimeout": "30",
    }


async def test_attributes_of_fifo_queues_only() -> None:
    sqs = await started()
    url = await sqs.create("orders.fifo", ContentBasedDeduplication="true")
    names = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
    assert await sqs.attributes(url, *names) == {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("VisibilityTimeout", 0, 43_200),
        ("DelaySeconds", 0, 900),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("MaximumMessageSize", 1_024, 1_048_576),
    ],
)
async def test_numbers_at_and_beyond_their_limits(name: str, least: int, most: int) -> None:
    sqs = await started()
    url = await sqs.create()
    default = (await sqs.attributes(url, name))[name]
    for value in (least, most):
        await sqs("SetQueueAttributes", QueueUrl=url, Attributes={name: str(value)})
        assert await sqs.attributes(url, name) == {name: str(value)}
    for text in (str(least - 1), str(most + 1), "x", "1.5", " 60", "٦٠", "9" * 30):
        expected = ("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        assert await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={name: text}) == expected
        assert await sqs.refused("CreateQueue", QueueName="new", Attributes={name: text}) == expected
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={name: ""})
    assert await sqs.attributes(url, name) == {name: default}


@pytest.mark.parametrize("name", ["Unknown", "QueueArn", "CreatedTimestamp", "All", "ApproximateNumberOfMessages"])
async def test_what_cannot_be_set(name: str) -> None:
    sqs = await started()
    url = await sqs.create()
    expected = ("InvalidAttributeName", f"Unknown Attribute {name}.")
    assert await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={name: "1"}) == expected
    assert await sqs.refused("CreateQueue", QueueName="new", Attributes={name: "1"}) == expected


@pytest.mark.parametrize(
    "name", ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"]
)
async def test_what_standard_queues_do_not_have(name: str) -> None:
    sqs = await started()
    url = await sqs.create()
    expected = ("InvalidAttributeName", f"Unknown Attribute {name}.")
    assert await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={name: "true"}) == expected


async def test_the_kind_of_a_queue_cannot_change() -> None:
    sqs = await started()
    url = await sqs.create("orders.fifo")
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"FifoQueue": "true"})
    refused = await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={"FifoQueue": "false"})
    message = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
    assert refused == ("InvalidAttributeValue", message)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"DeduplicationScope": "group"}, "DeduplicationScope"),
        ({"FifoThroughputLimit": "perGroup"}, "FifoThroughputLimit"),
        ({"FifoThroughputLimit": "perMessageGroupId"}, "FifoThroughputLimit"),
        ({"ContentBasedDeduplication": "yes"}, "ContentBasedDeduplication"),
    ],
)
async def test_choices_that_are_none_or_do_not_fit_together(attributes: dict[str, str], named: str) -> None:
    sqs = await started()
    url = await sqs.create("orders.fifo")
    code, message = await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes=attributes)
    assert (code, message.partition(".")[0]) == ("InvalidAttributeValue", f"Invalid value for the parameter {named}")


async def test_high_throughput() -> None:
    sqs = await started()
    high = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    url = await sqs.create("orders.fifo", **high)
    assert await sqs.attributes(url, *high) == high


async def test_attributes_that_are_asked_for() -> None:
    sqs = await started()
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=5)
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    await sqs.receive(url)
    sqs.cluster.clock.advance(2_000)
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "1"})

    counts = await sqs.attributes(
        url,
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
    )
    times = await sqs.attributes(url, "CreatedTimestamp", "LastModifiedTimestamp")

    assert list(counts.values()) == ["1", "1", "1"]
    assert int(times["LastModifiedTimestamp"]) - int(times["CreatedTimestamp"]) == 2
    assert await sqs("GetQueueAttributes", QueueUrl=url) == {}
    assert await sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"]) == {}
    for unknown in ("Unknown", "FifoQueue"):
        refused = await sqs.refused("GetQueueAttributes", QueueUrl=url, AttributeNames=[unknown])
        assert refused == ("InvalidAttributeName", f"Unknown Attribute {unknown}.")


async def test_a_policy_is_told_as_it_was_given() -> None:
    sqs = await started()
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement}, indent=1)
    url = await sqs.create(Policy=policy)
    assert await sqs.attributes(url, "Policy") == {"Policy": policy}
    refused = await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": "[]"})
    reason = "Reason: the document must be a JSON object."
    assert refused == ("InvalidAttributeValue", f"Invalid value for the parameter Policy. {reason}")
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": ""})
    assert await sqs.attributes(url, "Policy") == {}


async def test_settings_of_encryption_are_kept_and_exclude_one_another() -> None:
    sqs = await started()
    names = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
    url = await sqs.create(KmsMasterKeyId="testKeyId")
    assert await sqs.attributes(url, *names) == dict(zip(names, ("testKeyId", "300", "false"), strict=True))

    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"KmsDataKeyReusePeriodSeconds": "6000"})
    assert (await sqs.attributes(url, *names))["KmsDataKeyReusePeriodSeconds"] == "6000"
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    assert await sqs.attributes(url, *names) == {"SqsManagedSseEnabled": "true"}
    both = {"KmsMasterKeyId": "testKeyId", "SqsManagedSseEnabled": "true"}
    assert await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes=both) == KMS_OR_SQS


@pytest.mark.parametrize("attributes", [{"KmsDataKeyReusePeriodSeconds": "59"}, {"SqsManagedSseEnabled": "maybe"}])
async def test_settings_of_encryption_that_are_none(attributes: dict[str, str]) -> None:
    sqs = await started()
    assert (await sqs.refused("CreateQueue", QueueName="a", Attributes=attributes))[0] == "InvalidAttributeValue"


async def test_a_queue_made_by_other_clients_has_its_own_limits() -> None:
    sqs = await started()
    await sqs.queues.create("orders", AttributeChanges(), soon(sqs.cluster))
    url = await sqs.create()
    assert await sqs.attributes(url, "MaximumMessageSize") == {"MaximumMessageSize": "262144"}
    refused = await sqs.refused("CreateQueue", QueueName="orders", Attributes={"MaximumMessageSize": "1048576"})
    assert refused[0] == "QueueNameExists"


async def test_the_scope_of_a_queue_that_is_spread_stays() -> None:
    sqs = await started()
    high = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    url = await sqs.create("orders.fifo", **high)
    back = {"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}
    refused = await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes=back)
    assert refused[0] == "InvalidAttributeValue"
    assert await sqs.attributes(url, *high) == high

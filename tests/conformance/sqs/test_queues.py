"""Queues with boto3: attributes, tags, permissions, policies, listings, and what creating them again means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.sqs.nodes import ACCOUNT, REGION, Refusal, client, refused

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"


def attributes(sqs: Any, url: str, *names: str) -> dict[str, str]:
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names or ("All",)))
    return dict(found.get("Attributes", {}))


def test_a_queue_has_a_url_an_arn_and_defaults(sqs: Any, endpoint: str, queue: str, name: str) -> None:
    assert queue == f"{endpoint}/{ACCOUNT}/{name}" == sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found = attributes(sqs, queue)
    assert found.pop("CreatedTimestamp") <= found.pop("LastModifiedTimestamp")
    assert found == {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": ARN + name,
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "false",
        "VisibilityTimeout": "30",
    }


@pytest.mark.parametrize(
    ("attribute", "least", "most"),
    [
        ("VisibilityTimeout", 0, 43_200),
        ("DelaySeconds", 0, 900),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("MaximumMessageSize", 1_024, 1_048_576),
    ],
)
def test_attributes_at_and_beyond_their_limits(sqs: Any, queue: str, attribute: str, least: int, most: int) -> None:
    for value in (least, most):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={attribute: str(value)})
        assert attributes(sqs, queue, attribute) == {attribute: str(value)}
    for beyond in (least - 1, most + 1):
        refusal = refused(sqs, "set_queue_attributes", QueueUrl=queue, Attributes={attribute: str(beyond)})
        assert refusal == Refusal(
            "InvalidAttributeValue", f"Invalid value for the parameter {attribute}.", 400, "InvalidAttributeValue"
        )


def test_attributes_that_no_queue_has(sqs: Any, queue: str) -> None:
    expected = Refusal("InvalidAttributeName", "Unknown Attribute Colour.", 400, "InvalidAttributeName")
    assert refused(sqs, "set_queue_attributes", QueueUrl=queue, Attributes={"Colour": "red"}) == expected
    assert refused(sqs, "get_queue_attributes", QueueUrl=queue, AttributeNames=["Colour"]) == expected
    assert refused(sqs, "create_queue", QueueName="coloured", Attributes={"Colour": "red"}) == expected


def test_creating_it_again_compares_what_is_given(sqs: Any, queue: str, name: str) -> None:
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": "5"})
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == queue
    assert sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "5"})["QueueUrl"] == queue
    assert refused(sqs, "create_queue", QueueName=name, Attributes={"DelaySeconds": "6"}) == Refusal(
        "QueueAlreadyExists",
        "A queue already exists with the same name and a different value for attribute DelaySeconds",
        400,
        "QueueNameExists",
    )


@pytest.mark.parametrize("bad", ["a b", "x" * 81, "a/b", "x.fifo"])
def test_names_that_are_none(sqs: Any, bad: str) -> None:
    refusal = refused(sqs, "create_queue", QueueName=bad)
    assert (refusal.code, refusal.status) == ("InvalidParameterValue", 400)
    assert refusal.message.startswith("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80")


def test_a_deleted_queue_may_be_created_again_at_once_and_is_empty(sqs: Any, queue: str, name: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.delete_queue(QueueUrl=queue)
    assert refused(sqs, "delete_queue", QueueUrl=queue).shape == "QueueDoesNotExist"
    sqs.create_queue(QueueName=name)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


def test_pages_of_queues(sqs: Any, name: str) -> None:
    urls = [sqs.create_queue(QueueName=f"{name}-{letter}")["QueueUrl"] for letter in "abc"]
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=name + "-", PaginationConfig={"PageSize": 2})
    found = [page.get("QueueUrls", []) for page in pages]
    assert found == [urls[:2], urls[2:]]
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=name + "-z")


def test_tags(sqs: Any, queue: str) -> None:
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)
    sqs.tag_queue(QueueUrl=queue, Tags={"team": "a", "stage": ""})
    sqs.untag_queue(QueueUrl=queue, TagKeys=["team"])
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"stage": ""}


def test_permissions(sqs: Any, queue: str, name: str) -> None:
    sqs.add_permission(QueueUrl=queue, Label="one", AWSAccountIds=["123456789012"], Actions=["SendMessage"])
    policy = json.loads(attributes(sqs, queue, "Policy")["Policy"])
    again = refused(
        sqs, "add_permission", QueueUrl=queue, Label="one", AWSAccountIds=["123456789012"], Actions=["SendMessage"]
    )
    sqs.remove_permission(QueueUrl=queue, Label="one")

    (statement,) = policy["Statement"]
    assert (statement["Sid"], statement["Action"], statement["Resource"]) == ("one", "SQS:SendMessage", ARN + name)
    assert again.message == "Value one for parameter Label is invalid. Reason: Already exists."
    assert attributes(sqs, queue, "Policy") == {}


def test_dead_letters_and_the_way_back(sqs: Any, queue: str, name: str) -> None:
    source = sqs.create_queue(
        QueueName=name + "-source",
        Attributes={
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": ARN + name, "maxReceiveCount": 1}),
            "VisibilityTimeout": "0",
        },
    )["QueueUrl"]
    sent = sqs.send_message(QueueUrl=source, MessageBody="x")
    sqs.receive_message(QueueUrl=source)
    assert "Messages" not in sqs.receive_message(QueueUrl=source)
    (dead,) = sqs.receive_message(
        QueueUrl=queue, WaitTimeSeconds=20, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
    )["Messages"]
    task = sqs.start_message_move_task(SourceArn=ARN + name)["TaskHandle"]
    (back,) = sqs.receive_message(QueueUrl=source, WaitTimeSeconds=20)["Messages"]
    ended = sqs.list_message_move_tasks(SourceArn=ARN + name)["Results"]

    assert dead["MessageId"] == sent["MessageId"]
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == f"{ARN}{name}-source"
    assert sqs.list_dead_letter_source_queues(QueueUrl=queue)["queueUrls"] == [source]
    assert (task, back["Body"]) == (task, "x")
    assert ended[0]["ApproximateNumberOfMessagesToMove"] == 1
    assert refused(sqs, "cancel_message_move_task", TaskHandle="none") == Refusal(
        "InvalidParameterValue",
        "Value for parameter TaskHandle is invalid.",
        400,
        "InvalidParameterValueException",
    )
    nowhere = refused(sqs, "start_message_move_task", SourceArn=ARN + "nowhere")
    assert (nowhere.code, nowhere.status) == ("ResourceNotFoundException", 404)


def test_a_second_purge_within_a_minute(sqs: Any, queue: str, name: str) -> None:
    sqs.purge_queue(QueueUrl=queue)
    assert refused(sqs, "purge_queue", QueueUrl=queue) == Refusal(
        "AWS.SimpleQueueService.PurgeQueueInProgress",
        f"Only one PurgeQueue operation on {name} is allowed every 60 seconds.",
        403,
        "PurgeQueueInProgress",
    )


def test_regions_and_accounts_do_not_see_one_another(sqs: Any, endpoint: str, queue: str, name: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="here")
    with client(endpoint, region="eu-west-1") as abroad, client(endpoint, access_key="123456789012") as other:
        for each, arn in (
            (abroad, f"arn:aws:sqs:eu-west-1:{ACCOUNT}:"),
            (other, f"arn:aws:sqs:{REGION}:123456789012:"),
        ):
            assert "QueueUrls" not in each.list_queues(QueueNamePrefix=name)
            url = each.create_queue(QueueName=name)["QueueUrl"]
            assert attributes(each, url, "QueueArn") == {"QueueArn": arn + name}
            assert "Messages" not in each.receive_message(QueueUrl=url)
            assert each.list_queues(QueueNamePrefix=name)["QueueUrls"] == [url]
    assert sqs.list_queues(QueueNamePrefix=name)["QueueUrls"] == [queue]

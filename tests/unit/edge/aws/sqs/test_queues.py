"""Queues as a whole: created once, found by name, listed page by page, purged, deleted; regions and accounts apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.edge.aws.sqs.calling import started

INVALID = "InvalidParameterValueException"
STANDARD_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
    "must end with .fifo suffix and be 1 to 80 in length."
)


async def test_a_queue_is_created_found_and_deleted() -> None:
    sqs = await started()

    url = await sqs.create()
    found = await sqs("GetQueueUrl", QueueName="orders")
    await sqs("DeleteQueue", QueueUrl=url)
    gone = await sqs.refused("GetQueueUrl", QueueName="orders")
    again = await sqs.create()

    assert url == found["QueueUrl"] == again == "http://localhost:4566/000000000000/orders"
    assert gone == ("QueueDoesNotExist", "The specified queue does not exist.")


@pytest.mark.parametrize("name", ["", "a b", "x" * 81, "ä", "a/b", "~a", "a.b", "~123456789012~us-east-1~a"])
async def test_a_name_that_is_none(name: str) -> None:
    sqs = await started()
    assert await sqs.refused("CreateQueue", QueueName=name) == (INVALID, STANDARD_NAME)
    assert (await sqs.refused("GetQueueUrl", QueueName=name))[0] == "QueueDoesNotExist"


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("orders", {"FifoQueue": "true"}, FIFO_NAME),
        ("orders.fifo", {}, STANDARD_NAME),
        ("x" * 76 + ".fifo", {"FifoQueue": "true"}, FIFO_NAME),
        (".fifo", {"FifoQueue": "true"}, FIFO_NAME),
    ],
)
async def test_name_and_kind_must_fit(name: str, attributes: dict[str, str], message: str) -> None:
    sqs = await started()
    assert await sqs.refused("CreateQueue", QueueName=name, Attributes=attributes) == (INVALID, message)


async def test_the_same_queue_may_be_created_again_with_some_of_its_attributes() -> None:
    sqs = await started()
    policy = '{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}'
    url = await sqs.create(DelaySeconds="5", VisibilityTimeout="40", Policy=policy)
    for some in ({}, {"DelaySeconds": "5"}, {"VisibilityTimeout": "40", "Policy": policy}):
        assert await sqs.create("orders", **some) == url


@pytest.mark.parametrize("attributes", [{"DelaySeconds": "6"}, {"VisibilityTimeout": "40", "DelaySeconds": "6"}])
async def test_a_queue_of_other_attributes_exists_already(attributes: dict[str, str]) -> None:
    sqs = await started()
    await sqs.create(DelaySeconds="5", VisibilityTimeout="40")
    refused = await sqs.refused("CreateQueue", QueueName="orders", Attributes=attributes)
    message = "A queue already exists with the same name and a different value for attribute DelaySeconds"
    assert refused == ("QueueNameExists", message)


async def test_queues_are_listed_by_prefix_and_page_by_page() -> None:
    sqs = await started()
    urls = [await sqs.create(name) for name in ("a", "b1", "b2", "b3", "c")]

    everything = await sqs("ListQueues")
    first = await sqs("ListQueues", QueueNamePrefix="b", MaxResults=2)
    second = await sqs("ListQueues", QueueNamePrefix="b", MaxResults=2, NextToken=first["NextToken"])

    assert everything == {"QueueUrls": urls}
    assert first["QueueUrls"] == urls[1:3]
    assert second == {"QueueUrls": urls[3:4]}
    assert await sqs("ListQueues", QueueNamePrefix="z") == {}


async def test_nobody_reaches_the_queues_of_others_by_a_name() -> None:
    sqs = await started()
    await sqs.elsewhere(account="123456789012").create()
    stored = "~123456789012~us-east-1~orders"

    assert await sqs("ListQueues", QueueNamePrefix="~") == {}
    assert await sqs("ListQueues", QueueNamePrefix="~123456789012~us-east-1~") == {}
    assert (await sqs.refused("GetQueueUrl", QueueName=stored))[0] == "QueueDoesNotExist"
    url = f"http://localhost:4566/000000000000/{stored}"
    assert (await sqs.refused("SendMessage", QueueUrl=url, MessageBody="x"))[0] == "QueueDoesNotExist"


@pytest.mark.parametrize(
    "given", [{"MaxResults": 0}, {"MaxResults": 1001}, {"NextToken": "x"}, {"NextToken": "none", "MaxResults": 5}]
)
async def test_a_page_that_is_none(given: dict[str, Any]) -> None:
    sqs = await started()
    url = await sqs.create()
    assert (await sqs.refused("ListQueues", **given))[0] == INVALID
    assert (await sqs.refused("ListDeadLetterSourceQueues", QueueUrl=url, **given))[0] == INVALID


async def test_a_purge_drops_all_messages_and_is_not_to_be_repeated_within_a_minute() -> None:
    sqs = await started()
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")

    await sqs("PurgeQueue", QueueUrl=url)
    refused = await sqs.refused("PurgeQueue", QueueUrl=url)
    sqs.cluster.clock.advance(60_000)
    await sqs("PurgeQueue", QueueUrl=url)

    message = "Only one PurgeQueue operation on orders is allowed every 60 seconds."
    assert refused == ("PurgeQueueInProgress", message)
    assert await sqs.receive(url) == []


async def test_regions_and_accounts_do_not_see_one_another() -> None:
    sqs = await started()
    abroad, other = sqs.elsewhere(region="eu-west-1"), sqs.elsewhere(account="123456789012")
    for place, each in enumerate((sqs, abroad, other)):
        url = await each.create()
        await each("SendMessage", QueueUrl=url, MessageBody=str(place))
        await each("TagQueue", QueueUrl=url, Tags={"place": str(place)})

    for place, each in enumerate((sqs, abroad, other)):
        (url,) = (await each("ListQueues"))["QueueUrls"]
        assert [message["Body"] for message in await each.receive(url, MaxNumberOfMessages=10)] == [str(place)]
        assert await each("ListQueueTags", QueueUrl=url) == {"Tags": {"place": str(place)}}
        arn = (await each.attributes(url, "QueueArn"))["QueueArn"]
        assert arn == f"arn:aws:sqs:{each.caller.region}:{each.caller.account}:orders"
    owned = await sqs("GetQueueUrl", QueueName="orders", QueueOwnerAWSAccountId="123456789012")
    assert owned["QueueUrl"] == "http://localhost:4566/123456789012/orders"
    await other("DeleteQueue", QueueUrl=owned["QueueUrl"])
    assert (await sqs("ListQueues"))["QueueUrls"] == ["http://localhost:4566/000000000000/orders"]


async def test_pages_of_another_region_go_on_where_they_ended() -> None:
    sqs = (await started()).elsewhere(region="eu-west-1")
    urls = [await sqs.create(name) for name in ("a", "b", "c")]
    first = await sqs("ListQueues", MaxResults=2)
    second = await sqs("ListQueues", MaxResults=2, NextToken=first["NextToken"])
    assert first["QueueUrls"] + second["QueueUrls"] == urls
    assert "NextToken" not in second

"""Tags of queues: added, changed, taken away, and their limits."""

from __future__ import annotations

import pytest

from tests.unit.edge.aws.sqs.calling import started

INVALID = "InvalidParameterValueException"


async def test_tags_are_added_changed_and_taken_away() -> None:
    sqs = await started()
    url = (await sqs("CreateQueue", QueueName="orders", tags={"tag1": "value1"}))["QueueUrl"]

    await sqs("TagQueue", QueueUrl=url, Tags={"tag2": "value2", "tag3": "", "tag1": "new"})
    assert await sqs("ListQueueTags", QueueUrl=url) == {"Tags": {"tag1": "new", "tag2": "value2", "tag3": ""}}
    await sqs("UntagQueue", QueueUrl=url, TagKeys=["tag1", "tag3", "none"])
    assert await sqs("ListQueueTags", QueueUrl=url) == {"Tags": {"tag2": "value2"}}
    await sqs("UntagQueue", QueueUrl=url, TagKeys=["tag2"])
    assert await sqs("ListQueueTags", QueueUrl=url) == {}


@pytest.mark.parametrize(
    "tags",
    [{"": "v"}, {"k" * 129: "v"}, {"k": "v" * 257}, {"aws:k": "v"}, {"k\ud800": "v"}, {str(n): "" for n in range(51)}],
    ids=["no key", "long key", "long value", "reserved", "no text", "too many"],
)
async def test_tags_that_are_none(tags: dict[str, str]) -> None:
    sqs = await started()
    url = await sqs.create()
    assert (await sqs.refused("TagQueue", QueueUrl=url, Tags=tags))[0] == INVALID
    assert (await sqs.refused("CreateQueue", QueueName="new", tags=tags))[0] == INVALID
    assert await sqs("ListQueueTags", QueueUrl=url) == {}


async def test_a_queue_has_fifty_tags_at_most() -> None:
    sqs = await started()
    url = await sqs.create()
    await sqs("TagQueue", QueueUrl=url, Tags={f"{number}" + "k" * 126: "v" * 256 for number in range(10, 60)})
    refused = await sqs.refused("TagQueue", QueueUrl=url, Tags={"one more": ""})
    assert refused == (INVALID, "Too many tags added for queue orders.")


async def test_no_tags_at_all() -> None:
    sqs = await started()
    url = await sqs.create()
    assert (await sqs.refused("TagQueue", QueueUrl=url, Tags={}))[0] == "MissingRequiredParameterException"
    assert (await sqs.refused("UntagQueue", QueueUrl=url, TagKeys=[]))[0] == INVALID

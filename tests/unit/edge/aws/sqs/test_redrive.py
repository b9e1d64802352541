"""Redrive policies and allow policies as JSON texts: read, refused in SQS's words, and told again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.edge.aws.sqs.calling import Sqs, started

INVALID = "InvalidParameterValueException"
ARN = "arn:aws:sqs:us-east-1:000000000000:"
MANDATORY = "Redrive policy does not contain mandatory attribute"
VALID = "valid values are from 1 to 1000 both inclusive."


def policy(target: str = ARN + "dead", count: Any = 3) -> str:
    return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})


async def with_dead() -> Sqs:
    sqs = await started()
    await sqs.create("dead")
    return sqs


@pytest.mark.parametrize("count", [1, 1000, "3"])
async def test_a_redrive_policy_is_told_with_numbers(count: Any) -> None:
    sqs = await with_dead()
    url = await sqs.create(RedrivePolicy=policy(count=count))
    told = json.loads((await sqs.attributes(url))["RedrivePolicy"])
    assert told == {"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": int(count)}


@pytest.mark.parametrize("empty", ["", None])
async def test_a_redrive_policy_is_taken_away(empty: str | None) -> None:
    sqs = await with_dead()
    url = await sqs.create(RedrivePolicy=policy())
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": empty or ""})
    assert await sqs.attributes(url, "RedrivePolicy") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", "Redrive policy is not a valid JSON map."),
        ("[]", "Redrive policy is not a valid JSON map."),
        ('{"a":' * 4_000, "Redrive policy is not a valid JSON map."),
        ("{}", f"{MANDATORY}: deadLetterTargetArn."),
        (f'{{"deadLetterTargetArn":"{ARN}dead"}}', f"{MANDATORY}: maxReceiveCount."),
        (policy("dummy", 42), "Invalid value for deadLetterTargetArn."),
        (policy(count=0), f"Invalid value for maxReceiveCount: 0, {VALID}"),
        (policy(count=1001), f"Invalid value for maxReceiveCount: 1001, {VALID}"),
        (policy(count=True), f"Invalid value for maxReceiveCount: True, {VALID}"),
        (policy(ARN + "none"), "Dead letter target does not exist."),
        (policy("arn:aws:sqs:eu-west-1:000000000000:dead"), "Dead-letter target owner should be same as the source."),
        (policy(ARN + "dead.fifo"), "Dead-letter queue must be same type of queue as the source."),
    ],
)
async def test_a_redrive_policy_that_is_none(text: str, reason: str) -> None:
    sqs = await with_dead()
    url = await sqs.create()
    expected = (INVALID, f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}")
    assert await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": text}) == expected
    assert await sqs.refused("CreateQueue", QueueName="new", Attributes={"RedrivePolicy": text}) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"redrivePermission": "allowAll"},
        {"redrivePermission": "denyAll"},
        {"redrivePermission": "byQueue", "sourceQueueArns": [ARN + "orders", ARN + "others"]},
    ],
)
async def test_an_allow_policy_is_told_as_it_was_given(given: dict[str, Any]) -> None:
    sqs = await started()
    url = await sqs.create("dead", RedriveAllowPolicy=json.dumps(given))
    assert json.loads((await sqs.attributes(url))["RedriveAllowPolicy"]) == given
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedriveAllowPolicy": ""})
    assert await sqs.attributes(url, "RedriveAllowPolicy") == {}


@pytest.mark.parametrize(
    "given",
    [
        "x",
        {},
        {"redrivePermission": "some"},
        {"redrivePermission": "byQueue"},
        {"redrivePermission": "byQueue", "sourceQueueArns": []},
        {"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}{number}" for number in range(11)]},
        {"redrivePermission": "byQueue", "sourceQueueArns": ["orders"]},
        {"redrivePermission": "allowAll", "sourceQueueArns": [ARN + "orders"]},
        {"redrivePermission": "allowAll", "more": 1},
    ],
)
async def test_an_allow_policy_that_is_none(given: Any) -> None:
    sqs = await started()
    text = given if isinstance(given, str) else json.dumps(given)
    code, message = await sqs.refused("CreateQueue", QueueName="dead", Attributes={"RedriveAllowPolicy": text})
    assert code == INVALID
    assert message.startswith(f"Value {text} for parameter RedriveAllowPolicy is invalid. Reason: ")


async def test_a_dead_letter_queue_that_does_not_admit_the_source() -> None:
    sqs = await started()
    await sqs.create("dead", RedriveAllowPolicy='{"redrivePermission":"denyAll"}')
    refused = await sqs.refused("CreateQueue", QueueName="orders", Attributes={"RedrivePolicy": policy()})
    assert refused[1].endswith(f"Reason: Redrive permission to the Dead letter queue {ARN}dead is denied.")


async def test_sources_of_a_dead_letter_queue_page_by_page() -> None:
    sqs = await with_dead()
    dead = (await sqs("GetQueueUrl", QueueName="dead"))["QueueUrl"]
    urls = [await sqs.create(name, RedrivePolicy=policy()) for name in ("a", "b", "c")]

    everything = await sqs("ListDeadLetterSourceQueues", QueueUrl=dead)
    first = await sqs("ListDeadLetterSourceQueues", QueueUrl=dead, MaxResults=2)
    more: dict[str, Any] = {"MaxResults": 2, "NextToken": first["NextToken"]}
    second = await sqs("ListDeadLetterSourceQueues", QueueUrl=dead, **more)

    assert everything == {"queueUrls": urls}
    assert (first["queueUrls"], second) == (urls[:2], {"queueUrls": urls[2:]})
    assert await sqs("ListDeadLetterSourceQueues", QueueUrl=urls[0]) == {"queueUrls": []}


async def test_dead_letters_of_another_region_stay_there() -> None:
    sqs = (await started()).elsewhere(region="eu-west-1")
    dead = await sqs.create("dead")
    arn = (await sqs.attributes(dead, "QueueArn"))["QueueArn"]
    url = await sqs.create(RedrivePolicy=policy(arn))
    assert json.loads((await sqs.attributes(url))["RedrivePolicy"])["deadLetterTargetArn"] == arn
    assert await sqs("ListDeadLetterSourceQueues", QueueUrl=dead) == {"queueUrls": [url]}

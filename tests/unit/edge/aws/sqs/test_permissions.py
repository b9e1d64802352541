"""AddPermission and RemovePermission: what becomes of the queue's policy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.unit.edge.aws.sqs.calling import Sqs, started

INVALID = "InvalidParameterValueException"
ARN = "arn:aws:sqs:us-east-1:000000000000:orders"
FIRST: dict[str, Any] = {"Label": "first", "AWSAccountIds": ["668614515564"], "Actions": ["ReceiveMessage"]}


async def policy(sqs: Sqs, url: str) -> Any:
    found = await sqs.attributes(url, "Policy")
    return json.loads(found["Policy"]) if found else None


async def test_statements_come_and_go_by_their_labels() -> None:
    sqs = await started()
    url = await sqs.create()
    second = {"Label": "second", "AWSAccountIds": ["111111111111", "222222222222"], "Actions": ["SendMessage", "*"]}

    await sqs("AddPermission", QueueUrl=url, **FIRST)
    await sqs("AddPermission", QueueUrl=url, **second)
    both = await policy(sqs, url)
    again = await sqs.refused("AddPermission", QueueUrl=url, **FIRST)
    await sqs("RemovePermission", QueueUrl=url, Label="first")
    left = await policy(sqs, url)
    await sqs("RemovePermission", QueueUrl=url, Label="second")
    none = await sqs.refused("RemovePermission", QueueUrl=url, Label="second")

    assert both == {
        "Version": "2008-10-17",
        "Id": f"{ARN}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "first",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::668614515564:root"},
                "Action": "SQS:ReceiveMessage",
                "Resource": ARN,
            },
            {
                "Sid": "second",
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"]},
                "Action": ["SQS:SendMessage", "SQS:*"],
                "Resource": ARN,
            },
        ],
    }
    assert again == (INVALID, "Value first for parameter Label is invalid. Reason: Already exists.")
    assert [statement["Sid"] for statement in left["Statement"]] == ["second"]
    assert none == (INVALID, "Value second for parameter Label is invalid. Reason: can't find label.")
    assert await policy(sqs, url) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Label": "a b"}, INVALID),
        ({"Label": ""}, INVALID),
        ({"Label": "x" * 81}, INVALID),
        ({"AWSAccountIds": []}, "MissingRequiredParameterException"),
        ({"AWSAccountIds": ["1"]}, INVALID),
        ({"Actions": []}, "MissingRequiredParameterException"),
        ({"Actions": ["Fly"]}, INVALID),
        ({"Actions": ["SendMessage"] * 8}, "OverLimit"),
    ],
)
async def test_a_permission_that_is_none(change: dict[str, Any], code: str) -> None:
    sqs = await started()
    url = await sqs.create()
    assert (await sqs.refused("AddPermission", QueueUrl=url, **{**FIRST, **change}))[0] == code
    assert await policy(sqs, url) is None


async def test_permissions_added_at_the_same_time_all_count() -> None:
    sqs = await started()
    url = await sqs.create()
    labels = [f"label-{number}" for number in range(5)]
    await asyncio.gather(*(sqs("AddPermission", QueueUrl=url, **{**FIRST, "Label": label}) for label in labels))
    assert sorted(statement["Sid"] for statement in (await policy(sqs, url))["Statement"]) == labels

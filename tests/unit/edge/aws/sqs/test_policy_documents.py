"""Which policies SQS takes: within its quotas, and about itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from broker.edge.aws.contract import AwsError
from broker.edge.aws.sqs.policy_documents import MAX_BYTES, read
from tests.unit.edge.aws.sqs.calling import started

ARN = "arn:aws:sqs:us-east-1:000000000000:orders"
STATEMENT: dict[str, Any] = {"Effect": "Allow", "Principal": "*", "Action": "SQS:SendMessage", "Resource": ARN}
ACTIONS = ["SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueUrl", "PurgeQueue", "TagQueue", "Send*", "Get*"]


def policy(count: int = 1, **changes: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{**STATEMENT, **changes}] * count})


def accounts(count: int) -> dict[str, list[str]]:
    return {"AWS": [f"{number:012d}" for number in range(count)]}


def conditions(count: int) -> dict[str, Any]:
    return {"StringEquals": {f"aws:PrincipalTag/{number}": "x" for number in range(count)}}


@pytest.mark.parametrize(
    "text",
    [
        policy(20),
        policy(Principal=accounts(50)),
        policy(Action=[f"sqs:{name}" for name in ACTIONS[:7]]),
        policy(Action="*"),
        policy(Condition=conditions(10)),
        policy().ljust(MAX_BYTES),
    ],
)
def test_what_is_taken(text: str) -> None:
    assert read(text).statements


@pytest.mark.parametrize(
    ("text", "code", "status", "message"),
    [
        (policy().ljust(MAX_BYTES + 1), "OverLimit", 403, "Submitted policy is over max allowed size."),
        (policy(Sid="é" * 4_100), "OverLimit", 403, "Submitted policy is over max allowed size."),
        (policy(21), "OverLimit", 403, "21 statements were found in the submitted policy, max allowed is 20"),
        (
            policy(Principal=accounts(51)),
            "OverLimit",
            403,
            "51 principals were found in the submitted policy, max allowed is 50",
        ),
        (
            policy(2, Principal=accounts(26)),
            "OverLimit",
            403,
            "52 principals were found in the submitted policy, max allowed is 50",
        ),
        (
            policy(Action=[f"sqs:{name}" for name in ACTIONS]),
            "OverLimit",
            403,
            "8 actions were found in a statement from the submitted policy, max allowed is 7",
        ),
        (
            policy(Condition=conditions(11)),
            "OverLimit",
            403,
            "11 conditions were found in a statement from the submitted policy, max allowed is 10",
        ),
        (
            policy(Action="sns:Publish"),
            "InvalidAttributeValue",
            400,
            "Invalid value for the parameter Policy. Reason: sns:Publish is not an action of SQS.",
        ),
        (
            policy(Effect="Maybe"),
            "InvalidAttributeValue",
            400,
            "Invalid value for the parameter Policy. Reason: Statement[0].Effect must be Allow or Deny, not 'Maybe'.",
        ),
        (
            "{",
            "InvalidAttributeValue",
            400,
            "Invalid value for the parameter Policy. Reason: the document is not JSON: Expecting property name "
            "enclosed in double quotes: line 1 column 2 (char 1).",
        ),
    ],
)
def test_what_is_refused(text: str, code: str, status: int, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        read(text)
    assert (caught.value.code, caught.value.status, caught.value.message) == (code, status, message)


async def test_creating_and_changing_a_queue_check_its_policy_and_change_nothing() -> None:
    sqs = await started()
    refused = await sqs.refused("CreateQueue", QueueName="other", Attributes={"Policy": policy(21)})
    url = await sqs.create(Policy=policy())
    again = await sqs.refused(
        "SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "5", "Policy": policy(Effect="x")}
    )

    assert (refused[0], again[0]) == ("OverLimit", "InvalidAttributeValue")
    assert "QueueUrls" in await sqs("ListQueues", QueueNamePrefix="orders")
    assert "QueueUrls" not in await sqs("ListQueues", QueueNamePrefix="other")
    assert await sqs.attributes(url, "Policy", "DelaySeconds") == {"Policy": policy(), "DelaySeconds": "0"}


async def test_adding_a_permission_too_many_is_refused_and_leaves_the_policy() -> None:
    sqs = await started()
    url = await sqs.create(Policy=policy(20))
    more = {"Label": "more", "AWSAccountIds": ["111111111111"], "Actions": ["SendMessage"]}
    refused = await sqs.refused("AddPermission", QueueUrl=url, **more)
    assert refused == ("OverLimit", "21 statements were found in the submitted policy, max allowed is 20")
    assert await sqs.attributes(url, "Policy") == {"Policy": policy(20)}


def test_the_policy_that_the_documentation_shows_is_taken() -> None:
    text = (Path(__file__).parents[5] / "docs" / "sqs.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert [statement.sid for statement in read(shown).statements] == ["partner", "no-plain-text"]

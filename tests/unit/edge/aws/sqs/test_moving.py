"""Move tasks: started, listed, cancelled, and every way of not being one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.edge.aws.sqs.calling import Sqs, started

INVALID = "InvalidParameterValueException"
NOT_FOUND = "ResourceNotFoundException"
ARN = "arn:aws:sqs:us-east-1:000000000000:"


def missing(parameter: str) -> tuple[str, str]:
    return NOT_FOUND, f"The resource that you specified for the {parameter} parameter doesn't exist."


async def with_dead_letters() -> Sqs:
    """ "dead" holds two messages; "orders" names it."""
    sqs = await started()
    dead = await sqs.create("dead")
    await sqs.create(RedrivePolicy=f'{{"deadLetterTargetArn":"{ARN}dead","maxReceiveCount":1}}')
    await sqs.create("other")
    for _ in range(2):
        await sqs("SendMessage", QueueUrl=dead, MessageBody="x")
    return sqs


async def test_a_task_is_started_listed_and_cancelled() -> None:
    sqs = await with_dead_letters()
    given: dict[str, Any] = {"SourceArn": ARN + "dead", "DestinationArn": ARN + "other"}

    task = (await sqs("StartMessageMoveTask", **given, MaxNumberOfMessagesPerSecond=1))["TaskHandle"]
    running = await sqs("ListMessageMoveTasks", SourceArn=ARN + "dead")
    second = await sqs.refused("StartMessageMoveTask", **given)
    cancelled = await sqs("CancelMessageMoveTask", TaskHandle=task)
    ended = await sqs("ListMessageMoveTasks", SourceArn=ARN + "dead", MaxResults=10)
    again = await sqs.refused("CancelMessageMoveTask", TaskHandle=task)

    assert running["Results"] == [
        {
            "TaskHandle": task,
            "Status": "RUNNING",
            "SourceArn": ARN + "dead",
            "DestinationArn": ARN + "other",
            "MaxNumberOfMessagesPerSecond": 1,
            "ApproximateNumberOfMessagesMoved": 0,
            "ApproximateNumberOfMessagesToMove": 2,
            "StartedTimestamp": sqs.cluster.clock.wall(),
        }
    ]
    assert second == (
        INVALID,
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
    )
    assert cancelled == {"ApproximateNumberOfMessagesMoved": 0}
    assert [(task["Status"], "TaskHandle" in task) for task in ended["Results"]] == [("CANCELLED", False)]
    assert again[0] == INVALID


async def test_a_task_back_to_the_sources_has_no_destination() -> None:
    sqs = await with_dead_letters()
    await sqs("StartMessageMoveTask", SourceArn=ARN + "dead")
    (task,) = (await sqs("ListMessageMoveTasks", SourceArn=ARN + "dead"))["Results"]
    assert not task.keys() & {"DestinationArn", "MaxNumberOfMessagesPerSecond", "FailureReason"}


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"SourceArn": ARN + "none"}, missing("SourceArn")),
        ({"SourceArn": "arn:aws:sqs:eu-west-1:000000000000:dead"}, missing("SourceArn")),
        ({"SourceArn": "dead"}, (INVALID, "Value for parameter SourceArn is invalid.")),
        ({"SourceArn": ARN + "dead", "DestinationArn": ARN + "none"}, missing("DestinationArn")),
        ({"SourceArn": ARN + "other"}, (INVALID, "Source queue must be configured as a Dead Letter Queue.")),
    ],
)
async def test_a_task_that_cannot_be(given: dict[str, str], refusal: tuple[str, str]) -> None:
    sqs = await with_dead_letters()
    assert await sqs.refused("StartMessageMoveTask", **given) == refusal


@pytest.mark.parametrize("rate", [0, 501])
async def test_rates_beyond_their_limits(rate: int) -> None:
    sqs = await with_dead_letters()
    given: dict[str, Any] = {"SourceArn": ARN + "dead", "MaxNumberOfMessagesPerSecond": rate}
    assert (await sqs.refused("StartMessageMoveTask", **given))[0] == INVALID


async def test_lists_that_cannot_be() -> None:
    sqs = await with_dead_letters()
    assert await sqs.refused("ListMessageMoveTasks", SourceArn=ARN + "none") == missing("SourceArn")
    for beyond in (0, 11):
        refused = await sqs.refused("ListMessageMoveTasks", SourceArn=ARN + "dead", MaxResults=beyond)
        assert refused[0] == INVALID
    assert await sqs("ListMessageMoveTasks", SourceArn=ARN + "dead") == {"Results": []}


async def test_handles_of_tasks_that_are_none() -> None:
    sqs = await with_dead_letters()
    task = (await sqs("StartMessageMoveTask", SourceArn=ARN + "dead"))["TaskHandle"]
    await sqs("DeleteQueue", QueueUrl="http://localhost:4566/000000000000/dead")

    assert await sqs.refused("CancelMessageMoveTask", TaskHandle="foobared") == (
        INVALID,
        "Value for parameter TaskHandle is invalid.",
    )
    assert await sqs.refused("CancelMessageMoveTask", TaskHandle=task) == (NOT_FOUND, "Task does not exist.")


@pytest.mark.parametrize("place", [{"account": "111122223333"}, {"region": "eu-west-1"}])
async def test_a_task_is_cancelled_by_its_own_account_and_region_only(place: dict[str, str]) -> None:
    sqs = await with_dead_letters()
    given = {"SourceArn": ARN + "dead", "DestinationArn": ARN + "other", "MaxNumberOfMessagesPerSecond": 1}
    task = (await sqs("StartMessageMoveTask", **given))["TaskHandle"]

    refused = await sqs.elsewhere(**place).refused("CancelMessageMoveTask", TaskHandle=task)
    still = await sqs("ListMessageMoveTasks", SourceArn=ARN + "dead")

    assert refused == (NOT_FOUND, "Task does not exist.")
    assert still["Results"][0]["Status"] == "RUNNING"

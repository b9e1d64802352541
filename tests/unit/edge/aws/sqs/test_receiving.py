"""ReceiveMessage: what is told of a message, long polls, and callers who hang up."""

from __future__ import annotations

import asyncio
from hashlib import md5
from typing import Any

import pytest

from broker.domain.queues.commands import ChangeVisibility, Receive
from broker.services.outgoing import pack_bodies
from tests.unit.edge.aws.sqs.calling import ACCOUNT, Sqs, couriers, started
from tests.unit.services.running import soon

INVALID = "InvalidParameterValueException"


async def with_message(**given: Any) -> tuple[Sqs, str]:
    sqs = await started()
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="msg", **given)
    return sqs, url


async def test_a_message_is_told_without_attributes_unless_they_are_asked_for() -> None:
    sqs, url = await with_message(MessageAttributes={"Foo": {"DataType": "String", "StringValue": "Bar"}})
    (received,) = await sqs.receive(url)
    assert received.keys() == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}


@pytest.mark.parametrize("member", ["AttributeNames", "MessageSystemAttributeNames"])
async def test_all_system_attributes(member: str) -> None:
    sqs, url = await with_message()
    (received,) = await sqs.receive(url, **{member: ["All"]})
    attributes = received["Attributes"]
    assert attributes.keys() == {
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
    }
    assert (attributes["SenderId"], attributes["ApproximateReceiveCount"]) == (ACCOUNT, "1")
    assert attributes["SentTimestamp"] == str(sqs.cluster.clock.wall())


async def test_chosen_system_attributes_of_both_members() -> None:
    sqs, url = await with_message(MessageGroupId="tenant")
    (received,) = await sqs.receive(
        url,
        AttributeNames=["ApproximateReceiveCount", "Policy"],
        MessageSystemAttributeNames=["MessageGroupId", "SequenceNumber"],
    )
    assert received["Attributes"] == {"ApproximateReceiveCount": "1", "MessageGroupId": "tenant"}


async def test_a_system_attribute_that_is_none() -> None:
    sqs, url = await with_message()
    refused = await sqs.refused("ReceiveMessage", QueueUrl=url, AttributeNames=["Sender"])
    assert refused == ("InvalidAttributeName", "Unknown Attribute Sender.")


@pytest.mark.parametrize(
    ("wanted", "told", "digest"),
    [
        (["All"], ["Hello", "General", "Help.Me"], "4c360f3fdafd970e05fae2f149d997f5"),
        ([".*"], ["Hello", "General", "Help.Me"], "4c360f3fdafd970e05fae2f149d997f5"),
        (["Hello", "General", "none"], ["Hello", "General"], "fca026605781cb4126a1e9044df24232"),
        (["Hel.*"], ["Hello", "Help.Me"], "83fee93c1bcd8b9a5a923ffacdc636c7"),
        (["none"], [], None),
        ([], [], None),
        (["AWS.x"], [], None),
    ],
)
async def test_filters_of_message_attributes(wanted: list[str], told: list[str], digest: str | None) -> None:
    values = {"Hello": "There", "General": "Kenobi", "Help.Me": "Me"}
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}
    sqs, url = await with_message(MessageAttributes=attributes)

    (received,) = await sqs.receive(url, MessageAttributeNames=wanted)

    assert list(received.get("MessageAttributes", {})) == told
    assert received.get("MD5OfMessageAttributes") == digest


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"MaxNumberOfMessages": 0}, "Must be between 1 and 10, if provided."),
        ({"MaxNumberOfMessages": 11}, "Must be between 1 and 10, if provided."),
        ({"WaitTimeSeconds": -1}, "Must be >= 0 and <= 20, if provided."),
        ({"WaitTimeSeconds": 21}, "Must be >= 0 and <= 20, if provided."),
        ({"VisibilityTimeout": -1}, "VisibilityTimeout must be an integer between 0 and 43200."),
        ({"VisibilityTimeout": 43_201}, "VisibilityTimeout must be an integer between 0 and 43200."),
    ],
)
async def test_numbers_beyond_their_limits(given: dict[str, int], reason: str) -> None:
    sqs, url = await with_message()
    ((name, value),) = given.items()
    refused = await sqs.refused("ReceiveMessage", QueueUrl=url, **given)
    assert refused == (INVALID, f"Value {value} for parameter {name} is invalid. Reason: {reason}")


async def test_numbers_at_their_limits() -> None:
    sqs, url = await with_message()
    assert await sqs.receive(url, MaxNumberOfMessages=10, WaitTimeSeconds=20, VisibilityTimeout=43_200)
    assert await sqs.receive(url, MaxNumberOfMessages=1, WaitTimeSeconds=0, VisibilityTimeout=0) == []


async def test_a_visibility_timeout_of_its_own_counts_for_the_receive() -> None:
    sqs, url = await with_message()
    await sqs.receive(url, VisibilityTimeout=5)
    sqs.cluster.clock.advance(4_999)
    assert await sqs.receive(url) == []
    sqs.cluster.clock.advance(1)
    (again,) = await sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}


async def test_a_long_poll_ends_with_the_message_it_waited_for() -> None:
    sqs = await started()
    url = await sqs.create()
    poll = asyncio.ensure_future(sqs.receive(url, WaitTimeSeconds=20))
    await sqs.cluster.polls(1)

    await sqs("SendMessage", QueueUrl=url, MessageBody="x")

    assert [message["Body"] for message in await poll] == ["x"]


async def test_a_send_wakes_exactly_those_who_can_be_served_first_come_first_served() -> None:
    sqs = await started()
    url = await sqs.create()
    polls = []
    for number in range(1, 6):
        polls.append(asyncio.ensure_future(sqs.receive(url, WaitTimeSeconds=20)))
        await sqs.cluster.polls(number)

    await sqs("SendMessageBatch", QueueUrl=url, Entries=[{"Id": body, "MessageBody": body} for body in ("a", "b")])
    served = await asyncio.gather(*polls[:2])

    assert sorted(message["Body"] for messages in served for message in messages) == ["a", "b"]
    assert [poll.done() for poll in polls] == [True, True, False, False, False]
    assert sqs.cluster.waiting == 3
    for poll in polls[2:]:
        poll.cancel()
    await asyncio.gather(*polls[2:], return_exceptions=True)


@pytest.mark.parametrize("given", [{"WaitTimeSeconds": 3}, {}])
async def test_a_long_poll_ends_empty_after_its_own_wait_or_that_of_the_queue(given: dict[str, int]) -> None:
    sqs = await started()
    url = await sqs.create(ReceiveMessageWaitTimeSeconds="3")
    sqs.cluster.proposals.clear()
    poll = asyncio.ensure_future(sqs.receive(url, **given))
    await sqs.cluster.polls(1)

    sqs.cluster.clock.advance(2_999)
    await asyncio.sleep(0)
    assert not poll.done()
    sqs.cluster.clock.advance(1)

    assert await poll == []
    assert sqs.cluster.proposals == []


async def test_a_caller_who_hangs_up_while_waiting_takes_nothing() -> None:
    sqs = await started()
    url = await sqs.create()
    poll = asyncio.ensure_future(sqs.receive(url, WaitTimeSeconds=20))
    await sqs.cluster.polls(1)

    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")

    (received,) = await sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert received["Attributes"] == {"ApproximateReceiveCount": "1"}


async def test_what_was_taken_for_a_caller_who_hangs_up_meanwhile_is_given_back() -> None:
    sqs, url = await with_message()
    sqs.cluster.held = asyncio.Event()
    poll = asyncio.ensure_future(sqs.receive(url))
    await sqs.cluster.proposals_held(1)

    poll.cancel()
    await asyncio.sleep(0)
    sqs.cluster.held.set()
    with pytest.raises(asyncio.CancelledError):
        await poll

    while not any(isinstance(each, ChangeVisibility) for _, each in sqs.cluster.proposals):  # noqa: ASYNC110  # no event
        await asyncio.sleep(0)  # it happens behind the caller's back
    assert any(isinstance(command, Receive) for _, command in sqs.cluster.proposals)
    (received,) = await sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert received["Attributes"] == {"ApproximateReceiveCount": "1"}


async def test_a_receive_attempt_of_a_fifo_queue_gives_the_same_again() -> None:
    sqs = await started()
    url = await sqs.create("orders.fifo", ContentBasedDeduplication="true")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId="g")

    first = await sqs.receive(url, ReceiveRequestAttemptId="attempt")
    again = await sqs.receive(url, ReceiveRequestAttemptId="attempt")

    assert first == again
    assert await sqs.receive(url) == []


async def test_a_receive_attempt_is_not_for_standard_queues() -> None:
    sqs, url = await with_message()
    refused = await sqs.refused("ReceiveMessage", QueueUrl=url, ReceiveRequestAttemptId="a")
    reason = "The request include parameter that is not valid for this queue type."
    assert refused == (INVALID, f"Value a for parameter ReceiveRequestAttemptId is invalid. Reason: {reason}")


async def test_a_body_that_sqs_cannot_carry_is_told_with_replacements_and_their_digest() -> None:
    sqs = await started()
    url = await sqs.create()
    await sqs.queues.send("orders", pack_bodies([b"a\x00\xff"]), soon(sqs.cluster))
    (received,) = await sqs.receive(url)
    assert received["Body"] == "a\ufffd\ufffd"
    assert received["MD5OfBody"] == md5(received["Body"].encode()).hexdigest()


async def test_a_dead_letter_keeps_what_it_had_and_tells_where_it_was() -> None:
    sqs = await started()
    dead = await sqs.create("dead")
    arn = (await sqs.attributes(dead, "QueueArn"))["QueueArn"]
    url = await sqs.create(RedrivePolicy=f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":1}}')
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    sent_at = sqs.cluster.clock.wall()
    await sqs.receive(url, VisibilityTimeout=0)
    sqs.cluster.clock.advance(5_000)
    async with couriers(sqs):
        await sqs.receive(url)  # finds it dead
        (received,) = await sqs.receive(dead, AttributeNames=["All"], WaitTimeSeconds=20)

    attributes = received["Attributes"]
    assert received["MessageId"] == sent["MessageId"]
    assert attributes["SentTimestamp"] == str(sent_at)
    assert attributes["ApproximateReceiveCount"] == "2"
    assert attributes["DeadLetterQueueSourceArn"] == "arn:aws:sqs:us-east-1:000000000000:orders"

"""DeleteMessage, ChangeMessageVisibility and their batches: handles that are old, wrong or none."""

from __future__ import annotations

from typing import Any

import pytest

from broker.edge.aws.contract import AwsError
from tests.unit.edge.aws.sqs.calling import Sqs, started

INVALID = "InvalidParameterValueException"
NOT_AVAILABLE = "Message does not exist or is not available for visibility timeout change."


async def with_received(name: str = "orders", count: int = 1) -> tuple[Sqs, str, list[str]]:
    """And the receipt handles."""
    sqs = await started()
    url = await sqs.create(name)
    for number in range(count):
        fifo = {"MessageGroupId": str(number), "MessageDeduplicationId": str(number)} if name.endswith(".fifo") else {}
        await sqs("SendMessage", QueueUrl=url, MessageBody="x", **fifo)
    received = await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=30)
    return sqs, url, [message["ReceiptHandle"] for message in received]


async def test_a_message_is_deleted_and_once_more_is_fine() -> None:
    sqs, url, (handle,) = await with_received()
    assert await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle) == {}
    assert await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle) == {}
    sqs.cluster.clock.advance(60_000)
    assert await sqs.receive(url) == []


async def test_an_old_handle_of_a_standard_queue_deletes_nothing_and_succeeds() -> None:
    sqs, url, (handle,) = await with_received()
    sqs.cluster.clock.advance(30_000)
    await sqs.receive(url, VisibilityTimeout=1)
    assert await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle) == {}
    sqs.cluster.clock.advance(1_000)
    assert len(await sqs.receive(url)) == 1


async def test_an_old_handle_of_a_fifo_queue_has_expired() -> None:
    sqs, url, (handle,) = await with_received("orders.fifo")
    sqs.cluster.clock.advance(30_000)
    await sqs.receive(url)
    refused = await sqs.refused("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    reason = "The receipt handle has expired."
    assert refused == (INVALID, f"Value {handle} for parameter ReceiptHandle is invalid. Reason: {reason}")


@pytest.mark.parametrize("handle", ["", "none", "AAAA", "ä", "%%%"])
@pytest.mark.parametrize(("protocol", "status"), [("json", 400), ("query", 404)])
async def test_what_is_no_handle(handle: str, protocol: Any, status: int) -> None:
    sqs, url, _ = await with_received()
    sqs.protocol = protocol
    for operation, more in (("DeleteMessage", {}), ("ChangeMessageVisibility", {"VisibilityTimeout": 1})):
        with pytest.raises(AwsError) as caught:
            await sqs(operation, QueueUrl=url, ReceiptHandle=handle, **more)
        assert (caught.value.code, caught.value.status) == ("ReceiptHandleIsInvalid", status)
        assert caught.value.message == f'The input receipt handle "{handle}" is not a valid receipt handle.'


async def test_a_handle_of_another_queue_is_none_here() -> None:
    sqs, _, (handle,) = await with_received()
    other = await sqs.create("other")
    assert (await sqs.refused("DeleteMessage", QueueUrl=other, ReceiptHandle=handle))[0] == "ReceiptHandleIsInvalid"


async def test_handles_of_a_batch_are_deleted_or_fail_one_by_one() -> None:
    sqs, url, handles = await with_received(count=2)
    entries = [
        {"Id": "a", "ReceiptHandle": handles[0]},
        {"Id": "b", "ReceiptHandle": "none"},
        {"Id": "c", "ReceiptHandle": handles[1]},
    ]

    answer = await sqs("DeleteMessageBatch", QueueUrl=url, Entries=entries)

    assert answer["Successful"] == [{"Id": "a"}, {"Id": "c"}]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("b", "ReceiptHandleIsInvalid", True)
    assert (await sqs.attributes(url))["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_visibility_changes_within_its_limits() -> None:
    sqs, url, (handle,) = await with_received()
    change: dict[str, Any] = {"QueueUrl": url, "ReceiptHandle": handle}

    await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=43_200)
    for beyond in (-1, 43_201):
        refused = await sqs.refused("ChangeMessageVisibility", **change, VisibilityTimeout=beyond)
        reason = "VisibilityTimeout must be an integer between 0 and 43200."
        assert refused == (INVALID, f"Value {beyond} for parameter VisibilityTimeout is invalid. Reason: {reason}")
    sqs.cluster.clock.advance(1_000)
    total = await sqs.refused("ChangeMessageVisibility", **change, VisibilityTimeout=43_200)
    assert total[1] == (
        "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is "
        "beyond the limit [43200 seconds]"
    )
    await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=0)
    assert len(await sqs.receive(url)) == 1


async def test_visibility_of_a_delivery_that_is_over_cannot_change() -> None:
    sqs, url, (handle,) = await with_received()
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    refused = await sqs.refused("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=5)
    assert refused == (INVALID, f"Value {handle} for parameter ReceiptHandle is invalid. Reason: {NOT_AVAILABLE}")


async def test_visibilities_of_a_batch_change_or_fail_one_by_one() -> None:
    sqs, url, handles = await with_received(count=2)
    entries = [
        {"Id": "a", "ReceiptHandle": handles[0], "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": handles[1], "VisibilityTimeout": 43_201},
        {"Id": "c", "ReceiptHandle": "none", "VisibilityTimeout": 1},
        {"Id": "d", "ReceiptHandle": handles[1]},
    ]

    answer = await sqs("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=entries)

    assert answer["Successful"] == [{"Id": "a"}]
    assert [(failed["Id"], failed["Code"]) for failed in answer["Failed"]] == [
        ("b", "InvalidParameterValue"),
        ("c", "ReceiptHandleIsInvalid"),
        ("d", "MissingParameter"),
    ]
    assert len(await sqs.receive(url, MaxNumberOfMessages=10)) == 1


@pytest.mark.parametrize("operation", ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
async def test_a_batch_that_is_none(operation: str) -> None:
    sqs, url, (handle,) = await with_received()
    entry = {"ReceiptHandle": handle, "VisibilityTimeout": 1}
    shape = operation + "RequestEntry"
    eleven = [{"Id": str(number), **entry} for number in range(11)]

    assert await sqs.refused(operation, QueueUrl=url, Entries=[]) == (
        "EmptyBatchRequest",
        f"There should be at least one {shape} in the request.",
    )
    assert (await sqs.refused(operation, QueueUrl=url, Entries=eleven))[0] == "TooManyEntriesInBatchRequest"
    assert (await sqs.refused(operation, QueueUrl=url, Entries=[eleven[0]] * 2))[0] == "BatchEntryIdsNotDistinct"


async def test_in_a_queue_that_is_not_there() -> None:
    sqs, _, (handle,) = await with_received()
    url = "http://localhost:4566/000000000000/none"
    entry = {"Id": "a", "ReceiptHandle": handle, "VisibilityTimeout": -1}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("DeleteMessage", {"ReceiptHandle": handle}),
        ("DeleteMessageBatch", {"Entries": [entry]}),
        ("ChangeMessageVisibility", {"ReceiptHandle": handle, "VisibilityTimeout": 1}),
        ("ChangeMessageVisibilityBatch", {"Entries": [entry]}),
    ]
    for operation, given in calls:
        assert (await sqs.refused(operation, QueueUrl=url, **given))[0] == "QueueDoesNotExist"


async def test_a_handle_of_a_fifo_queue_that_timed_out_deletes_what_nobody_received_since() -> None:
    sqs, url, (handle,) = await with_received("orders.fifo")
    sqs.cluster.clock.advance(30_000)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    assert await sqs.receive(url) == []

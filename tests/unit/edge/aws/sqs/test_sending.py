"""SendMessage and SendMessageBatch: ids, digests, limits and refusals, entry by entry."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.edge.aws.sqs.calling import started

INVALID = "InvalidParameterValueException"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
NOT_OF_THIS_TYPE = "The request include parameter that is not valid for this queue type."
IDENTIFIER = "can only include alphanumeric and punctuation characters. 1 to 128 in length."


async def test_a_message_is_stored_and_told_with_its_digests() -> None:
    sqs = await started()
    url = await sqs.create()

    sent = await sqs(
        "SendMessage",
        QueueUrl=url,
        MessageBody="test",
        MessageAttributes={"Hello": {"DataType": "String", "StringValue": "There"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}},
    )
    (received,) = await sqs.receive(url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["AWSTraceHeader"])

    assert sent["MD5OfMessageBody"] == received["MD5OfBody"] == "098f6bcd4621d373cade4e832627b4f6"
    assert sent["MD5OfMessageAttributes"] == received["MD5OfMessageAttributes"] == "a311262e065454b75da111d535b8dacd"
    assert len(sent["MD5OfMessageSystemAttributes"]) == 32
    assert sent["MessageId"] == received["MessageId"]
    assert received["MessageAttributes"] == {"Hello": {"DataType": "String", "StringValue": "There"}}
    assert received["Attributes"] == {"AWSTraceHeader": TRACE}
    assert "SequenceNumber" not in sent


@pytest.mark.parametrize("body", ["\t\n\r ~", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff", "ä" * 100])
async def test_every_character_that_xml_has_may_be_sent(body: str) -> None:
    sqs = await started()
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody=body)
    (received,) = await sqs.receive(url)
    assert received["Body"] == body


@pytest.mark.parametrize("body", ["\x00", "a\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
async def test_other_characters_are_refused(body: str) -> None:
    sqs = await started()
    url = await sqs.create()
    code, message = await sqs.refused("SendMessage", QueueUrl=url, MessageBody=body)
    assert code == "InvalidMessageContents"
    assert message.startswith("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to")


async def test_a_message_may_be_as_long_as_the_queue_says() -> None:
    sqs = await started()
    url = await sqs.create(MaximumMessageSize="1024")

    await sqs("SendMessage", QueueUrl=url, MessageBody="x" * 1024)
    refused = await sqs.refused("SendMessage", QueueUrl=url, MessageBody="x" * 1025)

    assert refused == (INVALID, "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"DelaySeconds": 901}, "DelaySeconds must be >= 0 and <= 900."),
        ({"DelaySeconds": -1}, "DelaySeconds must be >= 0 and <= 900."),
        ({"MessageGroupId": ""}, f"MessageGroupId {IDENTIFIER}"),
        ({"MessageGroupId": "a b"}, f"MessageGroupId {IDENTIFIER}"),
        ({"MessageGroupId": "g" * 129}, f"MessageGroupId {IDENTIFIER}"),
        ({"MessageDeduplicationId": ""}, f"MessageDeduplicationId {IDENTIFIER}"),
        ({"MessageDeduplicationId": "d"}, NOT_OF_THIS_TYPE),
    ],
)
async def test_parameters_of_a_message_for_a_standard_queue(given: dict[str, Any], reason: str) -> None:
    sqs = await started()
    url = await sqs.create()
    ((name, value),) = given.items()
    refused = await sqs.refused("SendMessage", QueueUrl=url, MessageBody="x", **given)
    assert refused == (INVALID, f"Value {value} for parameter {name} is invalid. Reason: {reason}")
    assert await sqs.receive(url) == []


async def test_limits_of_parameters_are_within_them() -> None:
    sqs = await started()
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=900, MessageGroupId="g" * 128)
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=0, MessageGroupId="!~")
    assert (await sqs.attributes(url))["ApproximateNumberOfMessagesDelayed"] == "1"


async def test_an_empty_body_is_a_missing_one() -> None:
    sqs = await started()
    url = await sqs.create()
    refused = await sqs.refused("SendMessage", QueueUrl=url, MessageBody="")
    assert refused == ("MissingRequiredParameterException", "The request must contain the parameter MessageBody.")


async def test_a_fifo_queue_wants_a_group_and_a_deduplication_id_and_stores_once() -> None:
    sqs = await started()
    url = await sqs.create("orders.fifo")
    send: dict[str, Any] = {"QueueUrl": url, "MessageBody": "x"}

    no_group = await sqs.refused("SendMessage", **send, MessageDeduplicationId="d")
    no_id = await sqs.refused("SendMessage", **send, MessageGroupId="g")
    delayed = await sqs.refused("SendMessage", **send, MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=2)
    first = await sqs("SendMessage", **send, MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=0)
    again = await sqs("SendMessage", **send, MessageGroupId="g", MessageDeduplicationId="d")
    (received,) = await sqs.receive(url, AttributeNames=["All"], MaxNumberOfMessages=10)

    assert no_group == ("MissingRequiredParameterException", "The request must contain the parameter MessageGroupId.")
    assert no_id == (
        INVALID,
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    )
    assert delayed == (INVALID, f"Value 2 for parameter DelaySeconds is invalid. Reason: {NOT_OF_THIS_TYPE}")
    assert first == again
    assert (len(first["SequenceNumber"]), received["MessageId"]) == (20, first["MessageId"])
    attributes = received["Attributes"]
    assert (attributes["MessageGroupId"], attributes["MessageDeduplicationId"]) == ("g", "d")
    assert attributes["SequenceNumber"] == first["SequenceNumber"]


async def test_entries_of_a_batch_fail_one_by_one() -> None:
    sqs = await started()
    url = await sqs.create(MaximumMessageSize="1024")
    entries = [
        {"Id": "good", "MessageBody": "x"},
        {"Id": "late", "MessageBody": "x", "DelaySeconds": 901},
        {"Id": "long", "MessageBody": "x" * 1025},
        {"Id": "also", "MessageBody": "y"},
    ]

    answer = await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
    received = await sqs.receive(url, MaxNumberOfMessages=10)

    ids = {sent["MessageId"] for sent in answer["Successful"]}
    assert [sent["Id"] for sent in answer["Successful"]] == ["good", "also"]
    assert {(failed["Id"], failed["Code"], failed["SenderFault"]) for failed in answer["Failed"]} == {
        ("late", "InvalidParameterValue", True),
        ("long", "InvalidParameterValue", True),
    }
    assert {message["MessageId"] for message in received} == ids


@pytest.mark.parametrize(
    ("entries", "refusal"),
    [
        ([], ("EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")),
        (
            [{"Id": str(number), "MessageBody": "x"} for number in range(11)],
            ("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11."),
        ),
        (
            [{"Id": "a", "MessageBody": "x"}, {"Id": "a", "MessageBody": "x"}],
            ("BatchEntryIdsNotDistinct", "Id a repeated."),
        ),
        (
            [{"Id": "a", "MessageBody": "x" * 600_000}, {"Id": "b", "MessageBody": "x" * 448_577}],
            ("BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."),
        ),
    ],
    ids=["empty", "eleven", "repeated", "too long"],
)
async def test_a_batch_that_is_none(entries: list[dict[str, Any]], refusal: tuple[str, str]) -> None:
    sqs = await started()
    url = await sqs.create()
    assert await sqs.refused("SendMessageBatch", QueueUrl=url, Entries=entries) == refusal


@pytest.mark.parametrize("identity", ["", "a:b", "x" * 81, "ä"])
async def test_an_id_that_is_none(identity: str) -> None:
    sqs = await started()
    url = await sqs.create()
    code, message = await sqs.refused("SendMessageBatch", QueueUrl=url, Entries=[{"Id": identity, "MessageBody": "x"}])
    assert code == "InvalidBatchEntryId"
    assert message.startswith("A batch entry id can only contain alphanumeric characters, hyphens and underscores.")


async def test_a_batch_without_what_fifo_needs_is_refused_as_a_whole() -> None:
    sqs = await started()
    url = await sqs.create("orders.fifo")
    no_group = await sqs.refused("SendMessageBatch", QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}])
    entries = [{"Id": "a", "MessageBody": "x", "MessageGroupId": "g"}]
    no_id = await sqs.refused("SendMessageBatch", QueueUrl=url, Entries=entries)
    assert no_group == (INVALID, "The request must contain the parameter MessageGroupId.")
    assert no_id[0] == INVALID


async def test_a_queue_that_is_not_there_is_told_in_the_words_of_the_protocol() -> None:
    sqs = await started()
    url = "http://localhost:4566/000000000000/none"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("SendMessage", {"MessageBody": "x"}),
        ("SendMessageBatch", {"Entries": [{"Id": "a", "MessageBody": "x"}]}),
        ("SendMessageBatch", {"Entries": [{"Id": "a", "MessageBody": "x", "DelaySeconds": 901}]}),
    ]
    for operation, given in calls:
        sqs.protocol = "json"
        assert await sqs.refused(operation, QueueUrl=url, **given) == (
            "QueueDoesNotExist",
            "The specified queue does not exist.",
        )
        sqs.protocol = "query"
        _, message = await sqs.refused(operation, QueueUrl=url, **given)
        assert message == "The specified queue does not exist for this wsdl version."

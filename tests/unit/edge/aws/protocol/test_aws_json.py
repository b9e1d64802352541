from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import QueryNames, build
from broker.edge.aws.protocol import aws_json
from broker.edge.aws.protocol.contract import Codec
from broker.edge.aws.request import Request
from tests.unit.edge.aws.protocol.botocore_side import (
    JSON,
    ours,
    read_by_botocore,
    sent_by_botocore,
    theirs,
    told,
    values,
)

SERVICES = ("sqs", "swf", "kinesis", "firehose", "cognito-idp")
"""SQS and SWF speak JSON 1.0, the others 1.1."""
STREAMED = ("SubscribeToShard",)
"""Answered with a stream of events, which is no document."""
OPERATIONS = [(service, name) for service in SERVICES for name in ours(service).operations]


def codec(service: str, operation: str) -> Codec:
    return aws_json.codec(ours(service).operations[operation], ours(service))


def posted(body: bytes) -> Request:
    return Request("POST", "/", b"", {}, body)


def parse(operation: str, body: bytes, service: str = "sqs") -> dict[str, Any]:
    return codec(service, operation).parse(posted(body), {})


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@settings(max_examples=2)
@given(data=st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(service: str, operation: str, data: st.DataObject) -> None:
    model = theirs(service, "json").operation_model(operation)
    members = data.draw(values(model.input_shape))
    sent = sent_by_botocore(model, "json", members)
    assert codec(service, operation).parse(sent, {}) == told(members)


@pytest.mark.parametrize(("service", "operation"), [each for each in OPERATIONS if each[1] not in STREAMED])
@settings(max_examples=2)
@given(data=st.data())
def test_what_is_answered_is_read_by_botocore_as_it_was_meant(
    service: str, operation: str, data: st.DataObject
) -> None:
    shape = theirs(service, "json").operation_model(operation).output_shape
    output = {} if shape is None else data.draw(values(shape))
    document = codec(service, operation).write(told(output), "")
    read = read_by_botocore(document, "json", shape)
    read.pop("ResponseMetadata")
    assert read == output
    assert document.headers[0][1] == f"application/x-amz-json-{ours(service).json_version}".encode()


def test_errors_are_read_by_botocore_under_the_code_of_old() -> None:
    # given an error that had another name when SQS spoke query/XML
    failure = AwsError("QueueDoesNotExist", "no queue", query_code="AWS.SimpleQueueService.NonExistentQueue")
    document = aws_json.error(failure, ours("sqs"))
    # then it says so, and the exception's class comes from the shape's name
    assert dict(document.headers)[b"x-amzn-query-error"] == b"AWS.SimpleQueueService.NonExistentQueue;Sender"
    read = read_by_botocore(document, "json", theirs("sqs", "json").operation_model("SendMessage").output_shape)
    assert read["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert read["Error"]["Message"] == "no queue"
    assert json.loads(document.body)["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"


def test_errors_of_other_services_have_one_code() -> None:
    document = codec("kinesis", "GetRecords").error(AwsError("ExpiredIteratorException", "too old"), "")
    read = read_by_botocore(document, "json", theirs("kinesis", "json").operation_model("GetRecords").output_shape)
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("ExpiredIteratorException", "too old")
    assert document.headers == ((b"content-type", b"application/x-amz-json-1.1"),)


def test_what_is_missing_is_told_as_each_service_does() -> None:
    with pytest.raises(AwsError) as refused:
        parse("CreateStream", b"{}", "kinesis")
    assert (refused.value.code, refused.value.status) == ("ValidationException", 400)
    assert refused.value.message == (
        "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: Member must not be null"
    )


@pytest.mark.parametrize("sent", [b"1700000000.25", b'"1700000000.25"'])
def test_instants_are_seconds(sent: bytes) -> None:
    body = b'{"StreamName": "s", "ShardId": "x", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": ' + sent + b"}"
    assert parse("GetShardIterator", body, "kinesis")["Timestamp"] == 1_700_000_000.25


def test_whole_seconds_are_told_without_a_fraction() -> None:
    record = {
        "SequenceNumber": "1",
        "Data": b"\x00",
        "PartitionKey": "k",
        "ApproximateArrivalTimestamp": 1_700_000_000.0,
    }
    body = codec("kinesis", "GetRecords").write({"Records": [record]}, "").body
    assert b'"ApproximateArrivalTimestamp":1700000000}' in body
    assert b'"Data":"AA=="' in body


def tree_of(kind: str, **traits: Any) -> Codec:
    """Of an operation that takes and gives what one shape says."""
    raw = {
        "metadata": {"apiVersion": "1", "endpointPrefix": "any", "protocol": "json"},
        "operations": {
            "Do": {
                "http": {"method": "POST", "requestUri": "/"},
                **{side: {"shape": "All"} for side in ("input", "output")},
            }
        },
        "shapes": {"All": {"type": "structure", "members": {"It": {"shape": "It"}}}, "It": {"type": kind, **traits}},
    }
    service = build("any", raw, QueryNames())
    return aws_json.codec(service.operations["Do"], service)


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("iso8601", "2026-11-28T12:30:15.250Z"),
        ("rfc822", "Sat, 28 Nov 2026 12:30:15 GMT"),
        ("unixTimestamp", None),
    ],
)
def test_every_format_of_instants(format_: str, text: str | None) -> None:
    of_format = tree_of("timestamp", timestampFormat=format_)
    instant = 1_795_869_015.0 if format_ == "rfc822" else 1_795_869_015.25
    written = of_format.write({"It": instant}, "").body
    assert json.loads(written)["It"] == (text or instant)
    assert of_format.parse(posted(written), {}) == {"It": instant}


@pytest.mark.parametrize("sent", ['"yesterday"', "1e300", "-1e300", '"1e999"', '"nan"', "true", "{}", "[]"])
@pytest.mark.parametrize("format_", ["iso8601", "rfc822", "unixTimestamp"])
def test_what_is_no_instant(format_: str, sent: str) -> None:
    with pytest.raises(AwsError) as refused:
        tree_of("timestamp", timestampFormat=format_).parse(posted(b'{"It": ' + sent.encode() + b"}"), {})
    assert refused.value.code == "SerializationException"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_has_no_digits_for(word: str) -> None:
    of_double = tree_of("double")
    value = of_double.parse(posted(f'{{"It": "{word}"}}'.encode()), {})["It"]
    assert math.isnan(value) if word == "NaN" else value == float(word)
    assert json.loads(of_double.write({"It": value}, "").body) == {"It": word}


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "MissingRequiredParameterException", "The request must contain the parameter QueueUrl."),
        (
            b'{"QueueUrl": "q"}',
            "MissingRequiredParameterException",
            "The request must contain the parameter MessageBody.",
        ),
        (b'{"QueueUrl": null, "MessageBody": "x"}', "MissingRequiredParameterException", "parameter QueueUrl"),
        (b"{", "SerializationException", "not valid JSON"),
        (b'"\xff"', "SerializationException", "not valid JSON"),
        (b"[" * 100_000, "SerializationException", "nested too deeply"),
        (b'{"QueueUrl":' * 100_000, "SerializationException", "nested too deeply"),
        (b'{"DelaySeconds": 1' + b"0" * 5_000 + b"}", "SerializationException", ""),
        (b"[]", "SerializationException", "Start of list found where not expected"),
        (b"1", "SerializationException", "NUMBER_VALUE cannot be converted to Structure"),
        (b'{"QueueUrl": 1}', "SerializationException", "NUMBER_VALUE cannot be converted to String"),
        (b'{"QueueUrl": {}}', "SerializationException", "Start of structure or map found where not expected."),
        (b'{"QueueUrl": true}', "SerializationException", "TRUE_VALUE cannot be converted to String"),
        (b'{"DelaySeconds": "1"}', "SerializationException", "STRING_VALUE cannot be converted to Integer"),
        (b'{"DelaySeconds": 1.5}', "SerializationException", "DECIMAL_VALUE cannot be converted to Integer"),
        (b'{"DelaySeconds": false}', "SerializationException", "FALSE_VALUE cannot be converted to Integer"),
        (b'{"DelaySeconds": 2147483648}', "SerializationException", "2147483648 is out of range for Integer"),
        (b'{"MessageAttributes": []}', "SerializationException", "Start of list found where not expected"),
        (b'{"MessageAttributes": {"a": {}}}', "MissingRequiredParameterException", "parameter DataType"),
        (b'{"MessageAttributes": {"a": {"BinaryValue": "!"}}}', "SerializationException", "not valid base64"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(body: bytes, code: str, said: str) -> None:
    with pytest.raises(AwsError) as refused:
        parse("SendMessage", body)
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert said in refused.value.message


def test_members_that_nobody_knows_and_nulls_are_passed_over() -> None:
    body = b'{"QueueUrl": "q", "MessageBody": "x", "Colour": {"a": [1]}, "DelaySeconds": null}'
    assert parse("SendMessage", body) == {"QueueUrl": "q", "MessageBody": "x"}


def test_an_operation_without_output_answers_without_body() -> None:
    assert codec("sqs", "DeleteMessage").write({}, "").body == b""


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    with contextlib.suppress(AwsError):
        parse("SendMessageBatch", body)

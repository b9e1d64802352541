from __future__ import annotations

import contextlib
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from botocore.model import Shape as BotocoreShape
from botocore.parsers import ResponseParserFactory
from botocore.serialize import RpcV2CBORSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.edge.aws.contract import AwsError
from broker.edge.aws.protocol import cbor
from broker.edge.aws.protocol.contract import Codec, Document
from broker.edge.aws.request import Request
from tests.unit.edge.aws.protocol.botocore_side import (
    ours,
    read_by_botocore,
    sent_by_botocore,
    theirs,
    told,
    values,
)

RPC = "smithy-rpc-v2-cbor"
OPERATIONS = [(service, name) for service in ("kinesis", "cloudwatch", "sqs") for name in ours(service).operations]
STREAMED = ("SubscribeToShard",)
"""Answered with a stream of events, which is no document."""
KINESIS = list(ours("kinesis").operations)
ITERATOR = {"StreamName": "s", "ShardId": "x", "ShardIteratorType": "AT_TIMESTAMP"}
MEBIBYTE = 1 << 20


def codec(service: str, operation: str, dialect: cbor.Dialect = "rpc-v2-cbor") -> Codec:
    return cbor.codec(ours(service).operations[operation], ours(service), dialect)


def posted(body: bytes) -> Request:
    return Request("POST", "/", b"", {}, body)


def parse(operation: str, body: bytes, dialect: cbor.Dialect = "x-amz-cbor") -> dict[str, Any]:
    return codec("kinesis", operation, dialect).parse(posted(body), {})


class MillisecondSerializer(RpcV2CBORSerializer):  # type: ignore[misc]
    """As the SDKs for Java write instants: the tag of seconds, and whole milliseconds."""

    def _serialize_type_timestamp(self, serialized: bytearray, value: datetime, shape: Any, key: Any) -> None:
        serialized.extend(b"\xc1")
        self._serialize_type_integer(serialized, round(value.timestamp() * 1_000), shape, key)


def read_in_milliseconds(document: Document, shape: BotocoreShape | None) -> dict[str, Any]:
    factory = ResponseParserFactory()
    factory.set_parser_defaults(timestamp_parser=lambda millis: datetime.fromtimestamp(millis / 1_000, UTC))
    response = {"status_code": document.status, "headers": {}, "body": document.body}
    return dict(factory.create_parser(RPC).parse(response, shape))


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@settings(max_examples=2)
@given(data=st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(service: str, operation: str, data: st.DataObject) -> None:
    model = theirs(service, RPC).operation_model(operation)
    members = {} if model.input_shape is None else data.draw(values(model.input_shape))
    sent = sent_by_botocore(model, RPC, members)
    assert sent.headers[b"smithy-protocol"] == b"rpc-v2-cbor"
    assert codec(service, operation).parse(sent, {}) == told(members)


@pytest.mark.parametrize(("service", "operation"), [each for each in OPERATIONS if each[1] not in STREAMED])
@settings(max_examples=2)
@given(data=st.data())
def test_what_is_answered_is_read_by_botocore_as_it_was_meant(
    service: str, operation: str, data: st.DataObject
) -> None:
    shape = theirs(service, RPC).operation_model(operation).output_shape
    output = {} if shape is None else data.draw(values(shape))
    document = codec(service, operation).write(told(output), "")
    assert (b"smithy-protocol", b"rpc-v2-cbor") in document.headers
    if shape is None:
        assert document.body == b""
        return
    read = read_by_botocore(document, RPC, shape)
    read.pop("ResponseMetadata")
    assert read == output


@pytest.mark.parametrize("operation", KINESIS)
@settings(max_examples=2)
@given(data=st.data())
def test_the_older_form_is_read_as_it_was_meant(operation: str, data: st.DataObject) -> None:
    model = theirs("kinesis", RPC).operation_model(operation)
    members = data.draw(values(model.input_shape))
    sent = MillisecondSerializer().serialize_to_request(members, model)["body"]
    assert parse(operation, sent) == told(members)


@pytest.mark.parametrize("operation", [each for each in KINESIS if each not in STREAMED])
@settings(max_examples=2)
@given(data=st.data())
def test_the_older_form_is_answered_as_it_is_meant(operation: str, data: st.DataObject) -> None:
    shape = theirs("kinesis", RPC).operation_model(operation).output_shape
    output = {} if shape is None else data.draw(values(shape))
    document = codec("kinesis", operation, "x-amz-cbor").write(told(output), "")
    if shape is None:
        assert document.body == b""
        return
    read = read_in_milliseconds(document, shape)
    read.pop("ResponseMetadata")
    assert read == output
    assert document.headers == ((b"content-type", b"application/x-amz-cbor-1.1"),)


def test_the_bytes_of_an_sdk_for_java() -> None:
    """As captured from one: tag 1, and an integer of eight bytes."""
    body = cbor2.dumps(ITERATOR)
    body = b"\xa4" + body[1:] + b"\x69Timestamp\xc1\x1b\x00\x00\x01\xa0\x13\xac\xcc\x38"
    assert parse("GetShardIterator", body)["Timestamp"] == 1_787_036_486.712
    record = {
        "SequenceNumber": "1",
        "Data": b"x",
        "PartitionKey": "k",
        "ApproximateArrivalTimestamp": 1_787_036_486.712,
    }
    body = codec("kinesis", "GetRecords", "x-amz-cbor").write({"Records": [record]}, "").body
    assert body.endswith(b"\x78\x1bApproximateArrivalTimestamp\xc1\x1b\x00\x00\x01\xa0\x13\xac\xcc\x38")


@pytest.mark.parametrize("value", [cbor2.CBORTag(1, 1_700_000_000), cbor2.CBORTag(1, 1.7e9), 1_700_000_000, 1.7e9])
def test_instants_with_and_without_their_tag_whole_or_not(value: Any) -> None:
    body = cbor2.dumps({**ITERATOR, "Timestamp": value})
    assert parse("GetShardIterator", body, "rpc-v2-cbor")["Timestamp"] == 1_700_000_000
    assert parse("GetShardIterator", body, "x-amz-cbor")["Timestamp"] == 1_700_000


def test_lengths_need_not_be_told_in_advance() -> None:
    body = b"\xbf\x6aStreamName\x7f\x62ab\x61c\xff\x64Data\x5f\x41\x00\x41\x01\xff\x6cPartitionKey\x61k\xff"
    assert parse("PutRecord", body) == {"StreamName": "abc", "Data": b"\x00\x01", "PartitionKey": "k"}


def test_nothing_at_all_is_an_empty_request() -> None:
    assert parse("ListStreams", b"") == {}


def test_nulls_and_members_that_nobody_knows_are_passed_over() -> None:
    assert parse("ListStreams", cbor2.dumps({"Limit": None, "Colour": [1, {"a": b"b"}]})) == {}


@pytest.mark.parametrize("dialect", ["x-amz-cbor", "rpc-v2-cbor"])
def test_errors_are_read_by_botocore_with_code_and_message(dialect: cbor.Dialect) -> None:
    failure = AwsError("ResourceNotFoundException", "no stream")
    document = codec("kinesis", "GetRecords", dialect).error(failure, "")
    read = read_by_botocore(document, RPC, theirs("kinesis", RPC).operation_model("GetRecords").output_shape)
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("ResourceNotFoundException", "no stream")
    assert cbor2.loads(document.body)["__type"] == "com.amazonaws.kinesis#ResourceNotFoundException"


def test_errors_of_services_that_once_spoke_the_query_protocol_have_their_code_of_old() -> None:
    failure = AwsError("QueueDoesNotExist", "no queue", query_code="AWS.SimpleQueueService.NonExistentQueue")
    document = codec("sqs", "SendMessage").error(failure, "")
    read = read_by_botocore(document, RPC, theirs("sqs", RPC).operation_model("SendMessage").output_shape)
    assert read["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xa1", "not valid CBOR"),
        (b"\xa1\x65Lim", "not valid CBOR"),
        (b"\xff", "not valid CBOR"),
        (b"\xa1\x65Limit\x1c", "not valid CBOR"),
        (b"\xa1\x61\xff\x01", "not valid CBOR"),
        (b"\xa1\x01\x02", "not valid CBOR"),
        (b"\x81" * 100_000, "not valid CBOR"),
        (b"\xa1\x61a" * 100_000, "not valid CBOR"),
        (b"\x9f" * 100_000, "not valid CBOR"),
        (b"\xc1" * 100_000, "not valid CBOR"),
        (b"\xa1\x65Limit\xc2\x5a\x00\x01\x00\x00" + b"\xff" * 65_536, "not valid CBOR"),
        (b"\xa1\x65Limit\xd8\x23\x63(a)", "not valid CBOR"),
        (b"\xa1\x65Limit\xd8\x1c\x81\xd8\x1d\x00", "not valid CBOR"),
        (b"\x80", "Start of list found where not expected"),
        (b"\x01", "NUMBER_VALUE cannot be converted to Structure"),
        (cbor2.dumps({"Limit": "1"}), "STRING_VALUE cannot be converted to Integer"),
        (cbor2.dumps({"Limit": b"1"}), "BINARY_VALUE cannot be converted to Integer"),
        (cbor2.dumps({"Limit": 1.5}), "DECIMAL_VALUE cannot be converted to Integer"),
        (cbor2.dumps({"Limit": True}), "TRUE_VALUE cannot be converted to Integer"),
        (cbor2.dumps({"Limit": 2**31}), "2147483648 is out of range for Integer"),
        (cbor2.dumps({"Limit": {}}), "Start of structure or map found where not expected."),
        (b"\xa1\x65Limit\xc1\x01", "UNKNOWN_VALUE cannot be converted to Integer"),
        (b"\xa1\x65Limit\xf7", "UNKNOWN_VALUE cannot be converted to Integer"),
    ],
)
@pytest.mark.parametrize("dialect", ["x-amz-cbor", "rpc-v2-cbor"])
def test_what_cannot_be_read_is_refused_by_name(body: bytes, said: str, dialect: cbor.Dialect) -> None:
    with pytest.raises(AwsError) as refused:
        parse("ListStreams", body, dialect)
    assert (refused.value.code, refused.value.status) == ("SerializationException", 400)
    assert said in refused.value.message


@pytest.mark.parametrize("value", ["text", b"bytes", True, float("nan"), float("inf"), 1e300, -(10**17), [1]])
def test_what_is_no_instant(value: Any) -> None:
    for sent in (value, cbor2.CBORTag(1, value)):
        with pytest.raises(AwsError) as refused:
            parse("GetShardIterator", cbor2.dumps({**ITERATOR, "Timestamp": sent}))
        assert refused.value.code == "SerializationException"


@pytest.mark.parametrize("start", [b"\x9b", b"\xbb", b"\x5b", b"\x7b"])
@pytest.mark.parametrize("length", [1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_a_length_is_believed_only_as_far_as_there_are_bytes(start: bytes, length: int) -> None:
    """Of a list, a map, bytes, a text; alone and inside something."""
    for before in (b"", b"\xa1\x65Limit"):
        tracemalloc.start()
        with pytest.raises(AwsError):
            parse("ListStreams", before + start + length.to_bytes(8, "big") + b"\x01" * 1_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MEBIBYTE


@given(st.binary(max_size=200) | st.recursive(st.integers() | st.text(max_size=3), st.lists).map(cbor2.dumps))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    for dialect in cbor.DIALECTS:
        with contextlib.suppress(AwsError):
            parse("PutRecords", body, dialect)


@given(st.integers(0, 200), st.integers(0, 255))
def test_one_wrong_byte_does_not_break_the_reader(place: int, byte: int) -> None:
    records = [{"Data": b"abc", "PartitionKey": "k", "ExplicitHashKey": "1"}] * 3
    body = bytearray(cbor2.dumps({"StreamName": "s", "Records": records}))
    body[place % len(body)] = byte
    with contextlib.suppress(AwsError):
        parse("PutRecords", bytes(body))

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.edge.aws.contract import AwsError
from broker.edge.aws.protocol import json10
from tests.unit.edge.aws.protocol.botocore_side import ours, theirs, values

OPERATIONS = list(ours("sqs").operations)


def parse(operation: str, body: bytes) -> dict[str, Any]:
    return json10.codec(ours("sqs").operations[operation]).parse(body)


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=15)
@given(data=st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(operation: str, data: st.DataObject) -> None:
    model = theirs("sqs", "json").operation_model(operation)
    members = data.draw(values(model.input_shape))
    sent = create_serializer("json", include_validation=False).serialize_to_request(members, model)["body"]
    assert parse(operation, sent) == members


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_answered_is_read_by_botocore_as_it_was_meant(operation: str, data: st.DataObject) -> None:
    shape = theirs("sqs", "json").operation_model(operation).output_shape
    output = {} if shape is None else data.draw(values(shape))
    body = json10.codec(ours("sqs").operations[operation]).write(output, "")
    read = create_parser("json").parse({"status_code": 200, "headers": {}, "body": body}, shape)
    read.pop("ResponseMetadata")
    assert read == output


def test_errors_are_read_by_botocore_under_the_code_of_old() -> None:
    # given an error that had another name when SQS spoke query/XML
    failure = AwsError("QueueDoesNotExist", "no queue", query_code="AWS.SimpleQueueService.NonExistentQueue")
    document = json10.error(failure, "sqs", query_compatible=True)
    headers = {name.decode(): value.decode() for name, value in document.headers}
    # then it says so, and the exception's class comes from the shape's name
    assert headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    shape = theirs("sqs", "json").operation_model("SendMessage").output_shape
    read = create_parser("json").parse({"status_code": 400, "headers": headers, "body": document.body}, shape)
    assert read["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert read["Error"]["Message"] == "no queue"
    assert json.loads(document.body)["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"


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
    assert json10.codec(ours("sqs").operations["DeleteMessage"]).write({}, "") == b""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Entries", "Id", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    with contextlib.suppress(AwsError):
        parse("SendMessageBatch", body)

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.edge.aws.contract import AwsError
from broker.edge.aws.protocol import form, query
from broker.edge.aws.protocol.contract import Codec
from broker.edge.aws.request import Request
from tests.unit.edge.aws.protocol.botocore_side import (
    ours,
    read_by_botocore,
    sent_by_botocore,
    theirs,
    told,
    values,
)

SQS = [("sqs", name) for name in ours("sqs").operations]
OTHERS = [(service, name) for service in ("sts", "sns") for name in ours(service).operations]
OPERATIONS = [*SQS, *OTHERS]


def codec(service: str, operation: str) -> Codec:
    return query.codec(ours(service).operations[operation], ours(service))


def parse(operation: str, sent: bytes, service: str = "sqs") -> dict[str, Any]:
    return codec(service, operation).parse(Request("POST", "/", b"", {}, sent), form.decode(sent))


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@settings(max_examples=4)
@given(data=st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(service: str, operation: str, data: st.DataObject) -> None:
    # given any input of the operation
    model = theirs(service, "query").operation_model(operation)
    members = data.draw(values(model.input_shape))
    # when botocore writes it and the codec reads it
    sent = sent_by_botocore(model, "query", members)
    # then nothing is lost or changed
    assert parse(operation, sent.body, service) == told(members)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@settings(max_examples=4)
@given(data=st.data())
def test_what_is_answered_is_read_by_botocore_as_it_was_meant(
    service: str, operation: str, data: st.DataObject
) -> None:
    shape = theirs(service, "query").operation_model(operation).output_shape
    output = {} if shape is None else data.draw(values(shape))
    document = codec(service, operation).write(told(output), "the-request")
    read = read_by_botocore(document, "query", shape)
    metadata = read.pop("ResponseMetadata")
    assert (read, metadata["RequestId"]) == (output, "the-request")


def test_errors_are_read_by_botocore_with_code_message_and_request() -> None:
    failure = AwsError("QueueDoesNotExist", 'no <queue> & "none"', query_code="AWS.SimpleQueueService.NonExistentQueue")
    document = query.error(failure, ours("sqs").namespace, "the-request")
    read = read_by_botocore(document, "query", theirs("sqs", "query").operation_model("SendMessage").output_shape)
    assert read["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert read["Error"]["Message"] == 'no <queue> & "none"'
    assert read["Error"]["Type"] == "Sender"
    assert read["ResponseMetadata"]["RequestId"] == "the-request"


def test_what_xml_cannot_say_is_replaced() -> None:
    document = codec("sqs", "GetQueueUrl").write({"QueueUrl": "a\x00\x1b\uffffb\t\n\r"}, "")
    read = read_by_botocore(document, "query", theirs("sqs", "query").operation_model("GetQueueUrl").output_shape)
    assert read["QueueUrl"] == "a\ufffd\ufffd\ufffdb\t\n\r"


def test_the_documented_form_of_attributes_is_read() -> None:
    sent = (
        "Action=SendMessage&QueueUrl=http%3A%2F%2Fhere%2F0%2Fq&MessageBody=a+b%2Bc"
        "&MessageAttribute.1.Name=colour&MessageAttribute.1.Value.StringValue=red&MessageAttribute.1.Value.DataType=String"
        "&MessageAttribute.2.Name=raw&MessageAttribute.2.Value.BinaryValue=AAE%3D&MessageAttribute.2.Value.DataType=Binary"
    )
    assert parse("SendMessage", sent.encode()) == {
        "QueueUrl": "http://here/0/q",
        "MessageBody": "a b+c",
        "MessageAttributes": {
            "colour": {"StringValue": "red", "DataType": "String"},
            "raw": {"BinaryValue": b"\x00\x01", "DataType": "Binary"},
        },
    }


def test_numbers_need_not_be_without_gaps_but_are_in_order() -> None:
    assert parse("ReceiveMessage", b"QueueUrl=q&AttributeName.10=b&AttributeName.9=a")["AttributeNames"] == ["a", "b"]


def test_a_list_that_was_not_sent_is_empty_where_there_must_be_one() -> None:
    assert parse("SendMessageBatch", b"QueueUrl=q") == {"QueueUrl": "q", "Entries": []}


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        ("QueueUrl=q", "MissingRequiredParameterException", "The request must contain the parameter MessageBody."),
        ("QueueUrl=q&MessageBody=x&DelaySeconds=soon", "MalformedInput", "'soon' is not a valid integer"),
        ("QueueUrl=q&MessageBody=x&DelaySeconds=2147483648", "MalformedInput", "is not a valid integer"),
        ("QueueUrl=q&MessageBody=x&DelaySeconds=1_0", "MalformedInput", "is not a valid integer"),
        ("QueueUrl=q&MessageBody=x&DelaySeconds=", "MalformedInput", "is not a valid integer"),
        ("QueueUrl=q&MessageBody=x&DelaySeconds=" + "9" * 5_000, "MalformedInput", "is not a valid integer"),
        ("QueueUrl=q&MessageBody=x&MessageAttribute.one.Name=x", "MalformedInput", "'one' stands where a number"),
        ("QueueUrl=q&MessageBody=x&MessageAttribute.1.Name=x", "MissingRequiredParameterException", "parameter Value"),
        (
            "QueueUrl=q&MessageBody=x&MessageAttribute.1.Name=x&MessageAttribute.1.Value.StringValue=x",
            "MissingRequiredParameterException",
            "parameter DataType",
        ),
        (
            "QueueUrl=q&MessageBody=x&MessageAttribute.1.Name=x&MessageAttribute.1.Value.DataType=Binary"
            "&MessageAttribute.1.Value.BinaryValue=%21",
            "MalformedInput",
            "is not a valid blob",
        ),
        ("QueueUrl=q&MessageBody=%FF", "MalformedInput", "not valid UTF-8"),
        ("&".join(["a=b"] * 10_001), "MalformedInput", "has 10001 parameters"),
        (".".join("a" * 20) + "=b", "MalformedInput", "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(sent: str, code: str, said: str) -> None:
    with pytest.raises(AwsError) as refused:
        parse("SendMessage", sent.encode())
    assert refused.value.code == code
    assert said in refused.value.message


@given(st.binary(max_size=200) | st.text("Mesag.Atribu1Nm=&%0", max_size=80).map(str.encode))
def test_no_form_breaks_the_reader(sent: bytes) -> None:
    with contextlib.suppress(AwsError):
        parse("SendMessageBatch", sent)

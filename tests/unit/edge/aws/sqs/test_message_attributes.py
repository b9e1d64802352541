"""Message attributes: types, names, values, each refused in SQS's words."""

from __future__ import annotations

from typing import Any

import pytest

from broker.edge.aws.contract import AwsError
from broker.edge.aws.sqs import message_attributes

TEXT = {"DataType": "String", "StringValue": "v"}
TYPE = (
    "The type of message (user) attribute 'a' is invalid. You must use only the following supported type prefixes: "
    "Binary, Number, String."
)
NAME = (
    "Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and "
    "underscores. "
)
RESERVED = (
    "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal "
    "use. Additionally, they cannot start or end with '.'."
)


@pytest.mark.parametrize(
    "value",
    [
        TEXT,
        {"DataType": "String.json", "StringValue": "{}"},
        {"DataType": "Number", "StringValue": "-1.5e3"},
        {"DataType": "Number.int", "StringValue": "7"},
        {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        {"DataType": "Binary.png", "BinaryValue": b"x"},
        {"DataType": "String." + "x" * 249, "StringValue": "v"},
    ],
)
def test_what_is_sent_is_received(value: dict[str, Any]) -> None:
    for name in ("a", "n" * 256, "A-Z_0.9", "awsome"):
        assert message_attributes.write(message_attributes.read({name: value})) == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a", {"DataType": "Text", "StringValue": "v"}, TYPE),
        ("a", {"DataType": "", "StringValue": "v"}, TYPE),
        ("a", {"DataType": "String.", "StringValue": "v"}, TYPE),
        ("a", {"DataType": "string", "StringValue": "v"}, TYPE),
        (
            "a",
            {"DataType": "String." + "x" * 250, "StringValue": "v"},
            "Message (user) attribute types must be shorter than 256 Bytes",
        ),
        (
            "a",
            {"DataType": "String", "StringValue": ""},
            "Message (user) attribute 'a' must contain a non-empty value of type 'String'.",
        ),
        (
            "a",
            {"DataType": "Binary", "StringValue": "v"},
            "Message (user) attribute 'a' must contain a non-empty value of type 'Binary'.",
        ),
        (
            "a",
            {"DataType": "Number", "StringValue": "one"},
            "Can't cast the value of message (user) attribute 'a' to a number.",
        ),
        ("n" * 257, TEXT, "Message (user) attribute names must be shorter than 256 Bytes"),
        ("", TEXT, "Message (user) attribute names must be shorter than 256 Bytes"),
        ("a b", TEXT, NAME),
        ("ä", TEXT, NAME),
        ("AWS.a", TEXT, RESERVED),
        ("amazon.a", TEXT, RESERVED),
        (".a", TEXT, RESERVED),
        ("a.", TEXT, RESERVED),
        ("a..b", TEXT, RESERVED),
    ],
)
def test_what_is_refused(name: str, value: dict[str, Any], message: str) -> None:
    with pytest.raises(AwsError) as caught:
        message_attributes.read({name: value})
    assert (caught.value.query_code, caught.value.message) == ("InvalidParameterValue", message)


def test_characters_that_no_value_may_have() -> None:
    with pytest.raises(AwsError, match="Invalid characters found"):
        message_attributes.read({"a": {"DataType": "String", "StringValue": "\x00"}})


def test_lists_of_values_are_not_supported() -> None:
    with pytest.raises(AwsError) as caught:
        message_attributes.read({"a": {"DataType": "String", "StringListValues": ["v"]}})
    assert caught.value.query_code == "AWS.SimpleQueueService.UnsupportedOperation"


def test_ten_attributes_and_eleven() -> None:
    assert len(message_attributes.read({str(number): TEXT for number in range(10)})) == 10
    with pytest.raises(AwsError, match=r"Number of message attributes \[11\] exceeds the allowed maximum \[10\]\."):
        message_attributes.read({str(number): TEXT for number in range(11)})


@pytest.mark.parametrize("given", [{"Other": TEXT}, {"AWSTraceHeader": {"DataType": "Number", "StringValue": "1"}}])
def test_system_attributes_that_are_none(given: dict[str, Any]) -> None:
    with pytest.raises(AwsError):
        message_attributes.read_system(given)

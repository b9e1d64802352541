"""Message attributes in and out: typed values with SQS's rules and wording, and the filters of a receive.

Amazon SQS Developer Guide, "Amazon SQS message metadata"; API Reference: MessageAttributeValue, ReceiveMessage.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from broker.base.limits import ATTRIBUTE_NAME_MAX_LENGTH, ATTRIBUTE_TYPE_MAX_LENGTH, MAX_ATTRIBUTES_PER_MESSAGE
from broker.domain.queues.model import Attribute
from broker.edge.aws.contract import AwsError
from broker.edge.aws.sqs.errors import invalid_contents, invalid_parameter, unsupported

TRACE_HEADER = "AWSTraceHeader"
_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_RESERVED = ("aws.", "amazon.")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ASCII_ALLOWED = b"\t\n\r" + bytes(range(0x20, 0x80))
_REPLACEMENT = "\ufffd"


def has_forbidden(text: str) -> bool:
    """Characters that XML cannot carry, and so no message."""
    if text.isascii():
        return bool(text.encode().translate(None, _ASCII_ALLOWED))
    return not text.isprintable() and _FORBIDDEN.search(text) is not None


def presentable(raw: bytes) -> str:
    """Of a body that another protocol sent, what SQS can carry; the rest replaced."""
    text = raw.decode(errors="replace")
    return _FORBIDDEN.sub(_REPLACEMENT, text) if has_forbidden(text) else text


def read(given: Mapping[str, Mapping[str, Any]]) -> tuple[Attribute, ...]:
    """Raises AwsError."""
    if len(given) > MAX_ATTRIBUTES_PER_MESSAGE:
        raise invalid_parameter(
            f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{MAX_ATTRIBUTES_PER_MESSAGE}]."
        )
    return tuple(_attribute(name, value) for name, value in given.items())


def read_system(given: Mapping[str, Mapping[str, Any]]) -> tuple[Attribute, ...]:
    """Raises AwsError."""
    found: list[Attribute] = []
    for name, value in given.items():
        if name != TRACE_HEADER:
            raise invalid_parameter(f"Message (system) attribute '{name}' is invalid. Use {TRACE_HEADER}.")
        text = value.get("StringValue")
        if value["DataType"] != "String" or not text:
            raise invalid_parameter(
                f"Message (system) attribute '{name}' must contain a non-empty value of type 'String'."
            )
        found.append(Attribute(name, "String", text.encode()))
    return tuple(found)


def write(attributes: Sequence[Attribute]) -> dict[str, dict[str, Any]]:
    return {
        each.name: {"BinaryValue": each.value, "DataType": each.type}
        if each.type.startswith("Binary")
        else {"StringValue": presentable(each.value), "DataType": each.type}
        for each in attributes
    }


def chosen(attributes: Sequence[Attribute], wanted: Collection[str]) -> Sequence[Attribute]:
    """By names, by ``prefix.*``, or all of them by ``All`` and ``.*``."""
    if not attributes or "All" in wanted or ".*" in wanted:
        return attributes
    prefixes = tuple(name[: -len(".*")] for name in wanted if name.endswith(".*"))
    return [each for each in attributes if each.name in wanted or (prefixes and each.name.startswith(prefixes))]


def _attribute(name: str, given: Mapping[str, Any]) -> Attribute:
    _check_name(name)
    kind = given["DataType"]
    if len(kind.encode()) > ATTRIBUTE_TYPE_MAX_LENGTH:
        raise invalid_parameter("Message (user) attribute types must be shorter than 256 Bytes")
    family, _, label = kind.partition(".")
    if family not in ("String", "Number", "Binary") or (not label and kind != family):
        raise invalid_parameter(
            f"The type of message (user) attribute '{name}' is invalid. You must use only the following supported "
            "type prefixes: Binary, Number, String."
        )
    if given.get("StringListValues") or given.get("BinaryListValues"):
        raise unsupported("Message attribute list values in SendMessage operation are not supported.")
    if family == "Binary":
        return Attribute(name, kind, given.get("BinaryValue") or _refuse_empty(name, family))
    text = given.get("StringValue") or _refuse_empty(name, family)
    if has_forbidden(text):
        raise invalid_parameter(invalid_contents().message)
    if family == "Number" and not _NUMBER.fullmatch(text):
        raise invalid_parameter(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    return Attribute(name, kind, text.encode())


def _refuse_empty(name: str, family: str) -> Any:
    raise invalid_parameter(f"Message (user) attribute '{name}' must contain a non-empty value of type '{family}'.")


def _check_name(name: str) -> None:
    error: AwsError | None = None
    if not 1 <= len(name) <= ATTRIBUTE_NAME_MAX_LENGTH:
        error = invalid_parameter("Message (user) attribute names must be shorter than 256 Bytes")
    elif not _NAME.fullmatch(name):
        error = invalid_parameter(
            "Message (user) attributes name can only contain upper and lower score characters, digits, periods, "
            "hyphens and underscores. "
        )
    elif name.lower().startswith(_RESERVED) or name[0] == "." or name[-1] == "." or ".." in name:
        error = invalid_parameter(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. "
            "These strings are reserved for internal use. Additionally, they cannot start or end with '.'."
        )
    if error is not None:
        raise error

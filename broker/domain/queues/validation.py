"""The rules for names, attributes and messages, checked before anything is proposed. Pure functions that raise.

Amazon SQS API Reference: CreateQueue, SendMessage ("Message attributes", allowed characters), ReceiveMessage. Where SQS
counts seconds these count milliseconds. Bodies are any bytes; which characters a protocol allows is its own affair.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from broker.base import limits
from broker.base.errors import BatchEmpty, BatchTooLarge, InvalidArgument, InvalidName, MessageTooLong
from broker.domain.queues.model import Attribute, Message, QueueAttributes

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_ATTRIBUTE_TYPE = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_NUMBER_DIGITS = 38
_NUMBER_EXPONENT = 128
_RESERVED_PREFIXES = ("aws.", "amazon.")
_SHOWN = 100


def check_queue_name(name: str) -> None:
    """1-80 characters of A-Z a-z 0-9 - _. Raises InvalidName."""
    if not 1 <= len(name) <= limits.QUEUE_NAME_MAX_LENGTH:
        raise InvalidName(
            f"a queue name has 1 to {limits.QUEUE_NAME_MAX_LENGTH} characters, {name[:_SHOWN]!r} has {len(name)}"
        )
    if not _QUEUE_NAME.fullmatch(name):
        raise InvalidName(f"queue name {name!r} has other characters than A-Z a-z 0-9 - _: leave them out")


def check_queue_attributes(attributes: QueueAttributes) -> None:
    """Raises InvalidArgument."""
    _within("visibility timeout", attributes.visibility_timeout, 0, limits.MAX_VISIBILITY_TIMEOUT, "ms")
    _within("delay", attributes.delay, 0, limits.MAX_DELAY, "ms")
    _within("retention", attributes.retention, limits.MIN_RETENTION, limits.MAX_RETENTION, "ms")
    smallest, largest = limits.MIN_MESSAGE_SIZE_LIMIT, limits.MAX_MESSAGE_SIZE
    _within("message size limit", attributes.message_size_limit, smallest, largest, "bytes")
    _within("receive wait", attributes.receive_wait, 0, limits.MAX_RECEIVE_WAIT, "ms")


def check_message(message: Message, size_limit: int) -> int:
    """The size of the message in bytes. Raises MessageTooLong beyond ``size_limit``, InvalidArgument."""
    attributes = message.attributes
    if not attributes:
        size = len(message.body)
    else:
        _check_attributes(attributes)
        size = message.size()
    if size > size_limit:
        raise MessageTooLong(
            f"the message has {size} bytes with its attributes, the queue takes {size_limit}: "
            "send less, or raise the queue's message size limit"
        )
    return size


def check_delay(delay: int) -> None:
    """Raises InvalidArgument."""
    _within("delay", delay, 0, limits.MAX_DELAY, "ms")


def check_visibility_timeout(timeout: int) -> None:
    """Raises InvalidArgument."""
    _within("visibility timeout", timeout, 0, limits.MAX_VISIBILITY_TIMEOUT, "ms")


def check_receive_wait(wait: int) -> None:
    """Raises InvalidArgument."""
    _within("wait", wait, 0, limits.MAX_RECEIVE_WAIT, "ms")


def check_max_messages(maximum: int) -> None:
    """Raises InvalidArgument."""
    _within("number of messages to receive", maximum, 1, limits.MAX_RECEIVE_MESSAGES, "")


def check_batch(entries: int, size: int = 0) -> None:
    """``size`` in bytes, of all entries. Raises BatchEmpty, BatchTooLarge."""
    if entries < 1:
        raise BatchEmpty("the batch has no entries: send at least one")
    if entries > limits.MAX_BATCH_ENTRIES:
        raise BatchTooLarge(f"the batch has {entries} entries, the limit is {limits.MAX_BATCH_ENTRIES}: split it")
    if size > limits.MAX_BATCH_BYTES:
        raise BatchTooLarge(f"the batch has {size} bytes, the limit is {limits.MAX_BATCH_BYTES}: split it")


def _within(what: str, value: int, least: int, most: int, unit: str) -> None:
    if not least <= value <= most:
        raise InvalidArgument(f"{what} {value} is out of range: use {least} to {most} {unit}".rstrip())


def _check_attributes(attributes: Sequence[Attribute]) -> None:
    if len(attributes) > limits.MAX_ATTRIBUTES_PER_MESSAGE:
        raise InvalidArgument(
            f"the message has {len(attributes)} attributes, the limit is {limits.MAX_ATTRIBUTES_PER_MESSAGE}"
        )
    names: set[str] = set()
    for attribute in attributes:
        _check_attribute_name(attribute.name)
        if attribute.name in names:
            raise InvalidArgument(f"message attribute {attribute.name} is given twice: names must differ")
        names.add(attribute.name)
        _check_attribute_value(attribute)


def _check_attribute_name(name: str) -> None:
    if not 1 <= len(name) <= limits.ATTRIBUTE_NAME_MAX_LENGTH:
        raise InvalidArgument(
            f"a message attribute's name has 1 to {limits.ATTRIBUTE_NAME_MAX_LENGTH} characters, "
            f"{name[:_SHOWN]!r} has {len(name)}"
        )
    if not _ATTRIBUTE_NAME.fullmatch(name):
        raise InvalidArgument(f"message attribute name {name!r} has other characters than A-Z a-z 0-9 _ - .")
    if name.startswith(".") or name.endswith(".") or ".." in name:
        raise InvalidArgument(
            f"message attribute name {name!r} must not start or end with a dot, nor have two in a row"
        )
    if name.lower().startswith(_RESERVED_PREFIXES):
        raise InvalidArgument(f"message attribute name {name!r} is reserved: do not start it with AWS. or Amazon.")


def _check_attribute_value(attribute: Attribute) -> None:
    name, kind = attribute.name, attribute.type
    if len(kind) > limits.ATTRIBUTE_TYPE_MAX_LENGTH:
        raise InvalidArgument(
            f"the type of message attribute {name} has {len(kind)} characters, "
            f"the limit is {limits.ATTRIBUTE_TYPE_MAX_LENGTH}"
        )
    if not _ATTRIBUTE_TYPE.fullmatch(kind):
        raise InvalidArgument(
            f"message attribute {name} has type {kind!r}: use String, Number or Binary, optionally with a .label"
        )
    if not attribute.value:
        raise InvalidArgument(f"message attribute {name} has an empty value: leave the attribute out")
    if kind.startswith("Binary"):
        return
    try:
        text = attribute.value.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"message attribute {name} of type {kind} is not UTF-8: {error}") from error
    if kind.startswith("Number"):
        _check_number(name, text)


def _check_number(name: str, text: str) -> None:
    """Up to 38 digits of precision, between 10^-128 and 10^126 in magnitude."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"message attribute {name} of type Number has value {text[:_SHOWN]!r}: not a number")
    mantissa, exponent = match[1].replace(".", ""), match[3]
    if len(mantissa.strip("0")) > _NUMBER_DIGITS:
        raise InvalidArgument(f"message attribute {name} has a number of more than {_NUMBER_DIGITS} digits")
    whole = match[1].partition(".")[0].lstrip("0")
    magnitude = len(whole) + (int(exponent[1:]) if exponent else 0)
    if mantissa.strip("0") and not -_NUMBER_EXPONENT < magnitude <= _NUMBER_EXPONENT - 1:
        raise InvalidArgument(f"message attribute {name} has a number beyond 10^-{_NUMBER_EXPONENT} or 10^126")

"""The rules for messages, checked one by one before anything is proposed. Pure functions that raise.

Amazon SQS API Reference: SendMessage ("Message attributes", MessageGroupId, MessageDeduplicationId), ReceiveMessage
(ReceiveRequestAttemptId). Where SQS counts seconds these count milliseconds. Bodies are any bytes; which characters a
protocol allows is its own affair. What depends on the queue is handed in; nothing here knows one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from broker.base import limits
from broker.base.errors import InvalidArgument, MessageTooLong
from broker.base.instants import Millis, WallMillis
from broker.domain.queues.model import Attribute, Message
from broker.domain.queues.validation import check_within

_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_ATTRIBUTE_TYPE = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_NUMBER_DIGITS = 38
_NUMBER_EXPONENT = 128
_RESERVED_PREFIXES = ("aws.", "amazon.")
_IDENTIFIER = re.compile(r"[!-~]+")
"""Letters, digits and all punctuation of ASCII: everything printable but the space."""
_SHOWN = 100


def check_message(message: Message, size_limit: int) -> int:
    """The size of the message in bytes. Raises MessageTooLong beyond ``size_limit``, InvalidArgument."""
    attributes = message.attributes
    if len(message.trace) > limits.TRACE_MAX_LENGTH:
        raise InvalidArgument(
            f"the trace context has {len(message.trace)} characters, the limit is {limits.TRACE_MAX_LENGTH}"
        )
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


def check_message_group(group: str) -> None:
    """Raises InvalidArgument."""
    _check_identifier("a message group id", group, limits.MESSAGE_GROUP_MAX_LENGTH)


def check_deduplication(deduplication: str) -> None:
    """Raises InvalidArgument."""
    _check_identifier("a deduplication id", deduplication, limits.DEDUPLICATION_ID_MAX_LENGTH)


def check_attempt(attempt: str) -> None:
    """Raises InvalidArgument."""
    _check_identifier("a receive-attempt id", attempt, limits.RECEIVE_ATTEMPT_MAX_LENGTH)


def check_due(due: int, now: WallMillis, retention: Millis) -> None:
    """An instant in the past is fine: visible at once. Raises InvalidArgument."""
    if due < 0:
        raise InvalidArgument(f"due {due} is no instant: use milliseconds since 1970, or leave it out")
    if due - now >= retention:
        raise InvalidArgument(
            f"due {due} is {due - now} ms from now, the message would expire before: name an instant less than "
            f"{retention} ms ahead, the queue's retention"
        )


def check_lifetime(lifetime: int, retention: Millis = limits.MAX_RETENTION) -> None:
    """Raises InvalidArgument."""
    check_within("lifetime", lifetime, limits.MIN_LIFETIME, retention, "ms, the queue's retention")


def check_outlives(lifetime: int, invisible: int) -> None:
    """A message with a ``lifetime`` that is ``invisible`` for so many milliseconds first. Raises InvalidArgument."""
    if invisible >= lifetime:
        raise InvalidArgument(
            f"lifetime {lifetime} ends before the message becomes visible, {invisible} ms from now: let it live longer"
        )


def _check_identifier(what: str, given: str, longest: int) -> None:
    if not 1 <= len(given) <= longest:
        raise InvalidArgument(f"{what} has 1 to {longest} characters, {given[:_SHOWN]!r} has {len(given)}")
    if not _IDENTIFIER.fullmatch(given):
        raise InvalidArgument(
            f"{what} has ASCII letters, digits and punctuation only, without spaces; {given!r} has others"
        )


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

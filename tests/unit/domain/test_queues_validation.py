"""Names, attributes and messages at and beyond every limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.base.errors import (
    BatchEmpty,
    BatchTooLarge,
    BrokerError,
    InvalidArgument,
    InvalidName,
    MessageTooLong,
)
from broker.base.instants import Millis
from broker.domain.queues import validation
from broker.domain.queues.model import Attribute, Message, QueueAttributes

MIB = 1024 * 1024


@pytest.mark.parametrize("name", ["a", "A-Z_0", "x" * 80])
def test_a_good_name_passes(name: str) -> None:
    validation.check_queue_name(name)


@pytest.mark.parametrize("name", ["", "x" * 81, "a b", "a.fifo", "ä", "a\n", "a/b", "٣"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        validation.check_queue_name(name)


def test_the_refusal_of_a_name_shows_the_name_and_the_limit() -> None:
    with pytest.raises(InvalidName, match=r"80.*81"):
        validation.check_queue_name("x" * 81)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("visibility_timeout", 0, 43_200_000),
        ("delay", 0, 900_000),
        ("retention", 60_000, 1_209_600_000),
        ("message_size_limit", 1024, MIB),
        ("receive_wait", 0, 20_000),
    ],
)
def test_queue_attributes_have_limits(field: str, least: int, most: int) -> None:
    for value in (least, most):
        validation.check_queue_attributes(QueueAttributes(**{field: Millis(value)}))
    for value in (least - 1, most + 1):
        with pytest.raises(InvalidArgument, match=f"{value} .*{least} to {most}"):
            validation.check_queue_attributes(QueueAttributes(**{field: Millis(value)}))


@pytest.mark.parametrize(
    ("check", "least", "most"),
    [
        (validation.check_delay, 0, 900_000),
        (validation.check_visibility_timeout, 0, 43_200_000),
        (validation.check_receive_wait, 0, 20_000),
        (validation.check_max_messages, 1, 1000),
    ],
)
def test_numbers_of_a_request_have_limits(check: Callable[[int], None], least: int, most: int) -> None:
    check(least)
    check(most)
    for value in (least - 1, most + 1):
        with pytest.raises(InvalidArgument, match=str(value)):
            check(value)


@pytest.mark.parametrize(
    ("entries", "size", "error"),
    [(0, 0, BatchEmpty), (1001, 0, BatchTooLarge), (1, 4 * MIB + 1, BatchTooLarge)],
)
def test_batches_have_limits(entries: int, size: int, error: type[BrokerError]) -> None:
    validation.check_batch(1000, 4 * MIB)
    with pytest.raises(error):
        validation.check_batch(entries, size)


def test_the_size_counts_body_and_attributes() -> None:
    message = Message(b"12345", (Attribute("na", "String", "6é".encode()),))
    assert validation.check_message(message, 16) == 5 + 2 + 6 + 3
    with pytest.raises(MessageTooLong, match=r"16 bytes.*15"):
        validation.check_message(message, 15)


def test_a_message_without_attributes_may_be_of_any_bytes() -> None:
    assert validation.check_message(Message(b"\x00\xff"), 1024) == 2
    with pytest.raises(MessageTooLong):
        validation.check_message(Message(b"x" * 1025), 1024)


@pytest.mark.parametrize(
    "attribute",
    [
        Attribute("a", "String", b"text"),
        Attribute("A_b-c.9", "String.label", "ä".encode()),
        Attribute("x" * 256, "Binary", b"\xff\x00"),
        Attribute("n", "Binary.gif", b"\xff"),
        Attribute("n", "Number", b"-12.5"),
        Attribute("n", "Number.int", b"1" * 38),
        Attribute("n", "Number", b"1e125"),
        Attribute("n", "Number", b"1E-127"),
        Attribute("n", "Number", b".5"),
        Attribute("n", "Number", b"0e999"),
        Attribute("n", "Number", b"1" + b"0" * 60),
        Attribute("n", "String." + "x" * 249, b"longest type"),
    ],
    ids=lambda attribute: f"{attribute.name[:9]} {attribute.type[:9]}",
)
def test_a_good_attribute_passes(attribute: Attribute) -> None:
    validation.check_message(Message(b"", (attribute,)), MIB)


@pytest.mark.parametrize(
    "attribute",
    [
        Attribute("", "String", b"x"),
        Attribute("x" * 257, "String", b"x"),
        Attribute("a b", "String", b"x"),
        Attribute(".a", "String", b"x"),
        Attribute("a.", "String", b"x"),
        Attribute("a..b", "String", b"x"),
        Attribute("AWS.trace", "String", b"x"),
        Attribute("amazon.trace", "String", b"x"),
        Attribute("a", "", b"x"),
        Attribute("a", "string", b"x"),
        Attribute("a", "Stringy", b"x"),
        Attribute("a", "String.", b"x"),
        Attribute("a", "String." + "x" * 250, b"x"),
        Attribute("a", "String", b""),
        Attribute("a", "Binary", b""),
        Attribute("a", "String", b"\xff"),
        Attribute("a", "Number", b"twelve"),
        Attribute("a", "Number", b"1" * 39),
        Attribute("a", "Number", b"1e200"),
        Attribute("a", "Number", b"1e-200"),
        Attribute("a", "Number", b"NaN"),
        Attribute("a", "Number", b"1 "),
    ],
    ids=lambda attribute: f"{attribute.name[:12]} {attribute.type[:9]} {attribute.value[:9]!r}",
)
def test_a_bad_attribute_is_refused(attribute: Attribute) -> None:
    with pytest.raises(InvalidArgument):
        validation.check_message(Message(b"", (attribute,)), MIB)


def test_ten_attributes_pass_and_eleven_or_two_of_a_name_do_not() -> None:
    attributes = tuple(Attribute(f"a{number}", "String", b"x") for number in range(11))
    validation.check_message(Message(b"", attributes[:10]), MIB)
    with pytest.raises(InvalidArgument, match="11"):
        validation.check_message(Message(b"", attributes), MIB)
    with pytest.raises(InvalidArgument, match="twice"):
        validation.check_message(Message(b"", (attributes[0], attributes[0])), MIB)

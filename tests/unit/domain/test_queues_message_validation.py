"""Messages at and beyond every limit: size, attributes, ids, instants and lifetimes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.base.errors import InvalidArgument, MessageTooLong
from broker.base.instants import DAY, Millis, WallMillis
from broker.domain.queues.message_validation import (
    check_attempt,
    check_deduplication,
    check_due,
    check_lifetime,
    check_message,
    check_message_group,
    check_outlives,
)
from broker.domain.queues.model import Attribute, Message

MIB = 1024 * 1024
NOW = WallMillis(1_700_000_000_000)


def test_the_size_counts_body_and_attributes() -> None:
    message = Message(b"12345", (Attribute("na", "String", "6é".encode()),))
    assert check_message(message, 16) == 5 + 2 + 6 + 3
    with pytest.raises(MessageTooLong, match=r"16 bytes.*15"):
        check_message(message, 15)


def test_a_message_without_attributes_may_be_of_any_bytes() -> None:
    assert check_message(Message(b"\x00\xff"), 1024) == 2
    with pytest.raises(MessageTooLong):
        check_message(Message(b"x" * 1025), 1024)


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
    check_message(Message(b"", (attribute,)), MIB)


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
        check_message(Message(b"", (attribute,)), MIB)


def test_ten_attributes_pass_and_eleven_or_two_of_a_name_do_not() -> None:
    attributes = tuple(Attribute(f"a{number}", "String", b"x") for number in range(11))
    check_message(Message(b"", attributes[:10]), MIB)
    with pytest.raises(InvalidArgument, match="11"):
        check_message(Message(b"", attributes), MIB)
    with pytest.raises(InvalidArgument, match="twice"):
        check_message(Message(b"", (attributes[0], attributes[0])), MIB)


@pytest.mark.parametrize("check", [check_message_group, check_deduplication, check_attempt])
def test_ids_are_printable_ascii_of_bounded_length(check: Callable[[str], None]) -> None:
    for good in ("a", "x" * 128, "aZ09!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"):
        check(good)
    for bad in ("a b", "ä", "a\n", "\x7f", "\0"):
        with pytest.raises(InvalidArgument, match="without spaces"):
            check(bad)
    for count in (0, 129):
        with pytest.raises(InvalidArgument, match=f"1 to 128 characters.*{count}"):
            check("x" * count)


def test_an_instant_may_be_past_and_lies_within_the_retention() -> None:
    for due in (0, NOW - 1, NOW, NOW + DAY - 1):
        check_due(due, NOW, DAY)
    for due in (NOW + DAY, NOW + 2 * DAY):
        with pytest.raises(InvalidArgument, match=f"{due} is {due - NOW} ms from now.*less than {DAY} ms"):
            check_due(due, NOW, DAY)
    with pytest.raises(InvalidArgument, match="no instant"):
        check_due(-1, NOW, DAY)


def test_a_lifetime_is_a_second_to_the_retention() -> None:
    for lifetime in (1_000, 60_000):
        check_lifetime(lifetime, Millis(60_000))
    for lifetime in (-1, 0, 999, 60_001):
        with pytest.raises(InvalidArgument, match=f"lifetime {lifetime} .*1000 to 60000 ms, the queue's retention"):
            check_lifetime(lifetime, Millis(60_000))


def test_a_message_must_outlive_the_time_that_it_is_invisible() -> None:
    check_outlives(1_000, 999)
    with pytest.raises(InvalidArgument, match=r"lifetime 1000 ends before .* 1000 ms from now"):
        check_outlives(1_000, 1_000)


def test_a_trace_context_counts_nothing_and_is_bounded() -> None:
    assert check_message(Message(b"12345", trace="t" * 1024), 5) == 5
    with pytest.raises(InvalidArgument, match="trace context"):
        check_message(Message(b"", trace="t" * 1025), 5)

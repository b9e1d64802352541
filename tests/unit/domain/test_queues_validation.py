"""Names of queues, their attributes and requests about them, at and beyond every limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.base.errors import (
    BatchEmpty,
    BatchTooLarge,
    BrokerError,
    InvalidArgument,
    InvalidName,
    NotForStandard,
    RedriveNotAllowed,
    RedriveTargetInvalid,
)
from broker.base.instants import Millis, WallMillis
from broker.domain.queues import validation
from broker.domain.queues.model import (
    ALLOW_ALL,
    BY_QUEUE,
    DELAYED,
    DENY_ALL,
    IN_FLIGHT,
    PER_MESSAGE_GROUP,
    VISIBLE,
    QueueAttributes,
    RedriveAllowPolicy,
    RedrivePolicy,
)

MIB = 1024 * 1024


SPACE = "~123456789012~eu-central-1~"


@pytest.mark.parametrize(
    "name",
    ["a", "A-Z_0", "x" * 80, "a.fifo", "x" * 75 + ".fifo", SPACE + "a", SPACE + "x" * 80, SPACE + "a.fifo"],
)
def test_a_good_name_passes(name: str) -> None:
    validation.check_queue_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 81,
        "a b",
        "ä",
        "a\n",
        "a/b",
        "٣",
        "a.",
        ".fifo",
        "a.FIFO",
        "a.fifo.fifo",
        "a.fifo-1",
        "x" * 76 + ".fifo",
        SPACE,
        SPACE + "x" * 81,
        SPACE + SPACE + "a",
        "~12345~eu-central-1~a",
        "~123456789012~EU~a",
        "~123456789012~~a",
        "a~123456789012~eu-central-1~a",
        "~a",
    ],
)
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


@pytest.mark.parametrize("field", ["deduplication_scope", "throughput_limit"])
def test_what_is_per_queue_or_message_group_is_nothing_else(field: str) -> None:
    for value in ("queue", "message_group"):
        validation.check_queue_attributes(QueueAttributes(**{field: value}))
    with pytest.raises(InvalidArgument, match="'perQueue' is not known: use queue or message_group"):
        validation.check_queue_attributes(QueueAttributes(**{field: "perQueue"}))


def test_a_message_is_received_1_to_1000_times_before_it_is_a_dead_letter() -> None:
    for count in (1, 1_000):
        validation.check_queue_attributes(QueueAttributes(redrive=RedrivePolicy("dead", count)))
    for count in (0, 1_001):
        with pytest.raises(InvalidArgument, match=f"receive count {count} .*1 to 1000"):
            validation.check_queue_attributes(QueueAttributes(redrive=RedrivePolicy("dead", count)))
    with pytest.raises(InvalidName, match="'no name'"):
        validation.check_queue_attributes(QueueAttributes(redrive=RedrivePolicy("no name", 1)))


def test_a_policy_names_sources_when_and_only_when_it_admits_by_queue() -> None:
    ten = tuple(f"source-{number}" for number in range(10))
    for good in (RedriveAllowPolicy(), RedriveAllowPolicy(DENY_ALL), RedriveAllowPolicy(BY_QUEUE, ten)):
        validation.check_queue_attributes(QueueAttributes(redrive_allow=good))
    for bad, what in (
        (RedriveAllowPolicy(BY_QUEUE), "source queues 0 .*1 to 10"),
        (RedriveAllowPolicy(BY_QUEUE, (*ten, "eleventh")), "source queues 11 .*1 to 10"),
        (RedriveAllowPolicy(BY_QUEUE, ("no name",)), "'no name'"),
        (RedriveAllowPolicy(ALLOW_ALL, ("a",)), "'allow_all' came with 1 source queues"),
        (RedriveAllowPolicy(DENY_ALL, ("a",)), "'deny_all' came with 1 source queues"),
        (RedriveAllowPolicy("allowAll"), "'allowAll' is not known: use allow_all or deny_all or by_queue"),
    ):
        with pytest.raises(InvalidArgument, match=what):
            validation.check_queue_attributes(QueueAttributes(redrive_allow=bad))


def test_a_queue_has_1_to_64_stripes() -> None:
    for count in (1, 64):
        validation.check_queue_attributes(QueueAttributes(stripes=count))
    for count in (0, 65):
        with pytest.raises(InvalidArgument, match=f"stripes {count} .*1 to 64"):
            validation.check_queue_attributes(QueueAttributes(stripes=count))


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        (QueueAttributes(content_deduplication=True), "content-based deduplication"),
        (QueueAttributes(deduplication_scope=PER_MESSAGE_GROUP), "deduplication scope"),
        (QueueAttributes(throughput_limit=PER_MESSAGE_GROUP), "throughput limit"),
    ],
)
def test_a_standard_queue_has_nothing_of_fifo_queues(attributes: QueueAttributes, what: str) -> None:
    with pytest.raises(NotForStandard, match=f"'orders' is a standard queue, {what}"):
        validation.check_attributes_fit("orders", attributes)


def test_high_throughput_and_stripes_need_deduplication_by_message_group() -> None:
    fit = validation.check_attributes_fit
    fit("orders", QueueAttributes(stripes=4))
    fit("orders.fifo", QueueAttributes(content_deduplication=True))
    fit("orders.fifo", QueueAttributes(deduplication_scope=PER_MESSAGE_GROUP, stripes=4))
    fit("orders.fifo", QueueAttributes(deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP))
    with pytest.raises(InvalidArgument, match="throughput limit 'message_group' needs deduplication scope"):
        fit("orders.fifo", QueueAttributes(throughput_limit=PER_MESSAGE_GROUP))
    with pytest.raises(InvalidArgument, match="has 1 stripe, not 2"):
        fit("orders.fifo", QueueAttributes(stripes=2))


@pytest.mark.parametrize(("source", "target"), [("orders", "orders"), ("orders", "dead.fifo"), ("orders.fifo", "dead")])
def test_dead_letters_go_to_another_queue_of_the_same_kind(source: str, target: str) -> None:
    with pytest.raises(RedriveTargetInvalid, match=target):
        validation.check_attributes_fit(source, QueueAttributes(redrive=RedrivePolicy(target, 3)))
    validation.check_attributes_fit("a.fifo", QueueAttributes(redrive=RedrivePolicy("b.fifo", 3)))
    validation.check_attributes_fit("a", QueueAttributes(redrive=RedrivePolicy("b", 3)))


def test_a_dead_letter_queue_admits_whom_its_policy_says() -> None:
    allowed = validation.check_redrive_allowed
    allowed("orders", "dead", RedriveAllowPolicy())
    allowed("orders", "dead", RedriveAllowPolicy(BY_QUEUE, ("other", "orders")))
    with pytest.raises(RedriveNotAllowed, match=r"'dead' does not take dead letters of 'orders'.*admits other"):
        allowed("orders", "dead", RedriveAllowPolicy(BY_QUEUE, ("other",)))
    with pytest.raises(RedriveNotAllowed, match="deny_all and admits none"):
        allowed("orders", "dead", RedriveAllowPolicy(DENY_ALL))


def test_browsing_has_limits() -> None:
    browse = validation.check_browse
    browse((), 1, WallMillis(0), None)
    browse((VISIBLE, IN_FLIGHT, DELAYED), 1000, WallMillis(5), WallMillis(5))
    for count in (0, 1001):
        with pytest.raises(InvalidArgument, match=f"browse {count} .*1 to 1000"):
            browse((), count, WallMillis(0), None)
    with pytest.raises(InvalidArgument, match="'gone' is not known: use visible or in_flight or delayed"):
        browse(("gone",), 1, WallMillis(0), None)
    with pytest.raises(InvalidArgument, match="from 5 and before 4"):
        browse((), 1, WallMillis(5), WallMillis(4))


@pytest.mark.parametrize(
    "attributes",
    [
        QueueAttributes(tags=tuple((f"{number:02}", "") for number in range(50))),
        QueueAttributes(tags=(("k" * 128, "v" * 256),)),
        QueueAttributes(kept=(("Policy", "x" * (24 * 1024 - 6)),)),
    ],
)
def test_labels_within_their_limits_pass(attributes: QueueAttributes) -> None:
    validation.check_queue_attributes(attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        QueueAttributes(tags=tuple((f"{number:02}", "") for number in range(51))),
        QueueAttributes(tags=(("k" * 129, ""),)),
        QueueAttributes(tags=(("", "v"),)),
        QueueAttributes(tags=(("k", "v" * 257),)),
        QueueAttributes(tags=tuple((f"{number:02}", "\U0001f980" * 200) for number in range(50))),
        QueueAttributes(kept=(("Policy", "x" * (24 * 1024 - 5)),)),
    ],
)
def test_labels_beyond_their_limits_are_refused(attributes: QueueAttributes) -> None:
    with pytest.raises(InvalidArgument):
        validation.check_queue_attributes(attributes)

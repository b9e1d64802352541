"""Messages on their way out: what reaches the wire, and what is refused before it does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from broker.base.errors import BrokerError, InvalidArgument, MessageTooLong
from broker.client.model import OutgoingMessage
from broker.client.outgoing import add, entry, entry_of
from broker.client.units import to_count, to_epoch_millis
from broker.pb.queues.v1 import queues_pb2


def test_a_body_alone_has_nothing_more() -> None:
    assert entry(b"body", {}) == entry_of(b"body") == entry_of(OutgoingMessage(b"body"))
    assert entry_of(b"body").extras is None


def test_everything_a_message_may_have_reaches_the_wire() -> None:
    # given a message with everything that a message may have at once
    made = entry(
        b"body",
        {
            "attributes": {"n": 1},
            "message_group": "tenant-7",
            "deduplication_id": "id-1",
            "deliver_at": datetime(2026, 1, 1, tzinfo=UTC),
            "time_to_live": 1.5,
        },
    )

    # when it is written into a request, between two bodies
    request = queues_pb2.ProduceRequest()
    add([entry(b"a", {}), made, entry(b"b", {"delay": 0})], request)

    # then the fields have the units of the wire
    first, message, last = request.messages
    assert first == queues_pb2.OutgoingMessage(body=b"a")
    assert message == queues_pb2.OutgoingMessage(
        body=b"body",
        attributes=[queues_pb2.MessageAttribute(name="n", type="Number", value=b"1")],
        message_group="tenant-7",
        deduplication_id="id-1",
        deliver_at=1_767_225_600_000,
        time_to_live_ms=1_500,
    )
    assert (last.HasField("delay_ms"), last.delay_ms) == (True, 0)


@pytest.mark.parametrize(
    ("message", "error", "said"),
    [
        ("text", InvalidArgument, "body must be bytes, this is str; str needs .encode()"),
        (OutgoingMessage("text"), InvalidArgument, "body must be bytes, this is str"),  # type: ignore[arg-type]
        (OutgoingMessage(b"x", delay=-1), InvalidArgument, "delay is -1; it must be a number of seconds, 0 or more"),
        (OutgoingMessage(b"x", time_to_live=0), InvalidArgument, "time_to_live is 0; .* 0.001 or more"),
        (OutgoingMessage(b"x", delay=1, deliver_at=5), InvalidArgument, "deliver_at and delay .* give one of the two"),
        (OutgoingMessage(b"x", deliver_at=-5), InvalidArgument, "deliver_at is -5; it must be a datetime, or seconds"),
        (
            OutgoingMessage(b"x", deliver_at=datetime(2026, 1, 1)),
            InvalidArgument,
            "deliver_at is 2026-01-01T00:00:00 without a time zone",
        ),
        (OutgoingMessage(b"x", attributes={"n": None}), InvalidArgument, "attribute 'n' is a NoneType"),  # type: ignore[dict-item]
        (b"x" * 1_048_577, MessageTooLong, "1,048,577 bytes"),
        (OutgoingMessage(b"x" * 1_048_576, attributes={"n": 1}), MessageTooLong, "1,048,584 bytes"),
    ],
)
def test_what_is_no_message_is_refused_at_once(message: object, error: type[BrokerError], said: str) -> None:
    with pytest.raises(error, match=said):
        entry_of(message)  # type: ignore[arg-type]


def test_instants_and_counts_are_checked() -> None:
    assert to_epoch_millis(1.5, "since") == 1_500
    assert to_epoch_millis(datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC), "since") == 2_000
    for bad in (float("nan"), True, "now"):
        with pytest.raises(InvalidArgument, match="since is"):
            to_epoch_millis(bad, "since")  # type: ignore[arg-type]
    assert to_count(3, "stripes") == 3
    for bad_count in (-1, 2**32, 1.5, True):
        with pytest.raises(InvalidArgument, match="stripes is"):
            to_count(bad_count, "stripes")  # type: ignore[arg-type]

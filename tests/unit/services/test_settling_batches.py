"""Deleting and changing visibility through QueueService on one node."""

from __future__ import annotations

import pytest

from broker.base.errors import (
    BatchEmpty,
    BatchTooLarge,
)
from broker.base.instants import Millis
from broker.base.limits import MAX_BATCH_ENTRIES
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from tests.unit.services.running import soon, with_queue


async def test_deleting_needs_handles_of_this_queue_that_are_whole() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.create("other", AttributeChanges(), soon(cluster))
    await queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    await queues.send("other", pack_bodies([b"c"]), soon(cluster))
    mine = [each.handle for each in (await queues.receive("orders", 2, soon(cluster))).messages]
    foreign = (await queues.receive("other", 1, soon(cluster))).messages[0].handle
    damaged = mine[1][:-1] + bytes([mine[1][-1] ^ 1])

    failures = await queues.delete_messages("orders", [b"", foreign, mine[0], damaged], soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [
        (0, "ReceiptHandleInvalid"),
        (1, "ReceiptHandleInvalid"),
        (3, "ReceiptHandleInvalid"),
    ]
    counts = (await queues.describe("orders", soon(cluster))).counts
    assert (counts.in_flight, counts.deleted_total) == (1, 1)


async def test_a_stale_handle_cannot_delete_what_another_consumer_holds() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    stale = (await queues.receive("orders", 1, soon(cluster))).messages[0].handle
    cluster.clock.advance(30_000)
    current = (await queues.receive("orders", 1, soon(cluster))).messages[0].handle

    failures = await queues.delete_messages("orders", [b"junk", stale], soon(cluster))
    good = await queues.delete_messages("orders", [current], soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [
        (0, "ReceiptHandleInvalid"),
        (1, "ReceiptHandleExpired"),
    ]
    assert good == ()


async def test_a_visibility_of_zero_makes_visible_at_once_and_bad_ones_fail_alone() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a", b"b", b"c"]), soon(cluster))
    handles = [each.handle for each in (await queues.receive("orders", 3, soon(cluster))).messages]
    timeouts = [Millis(0), Millis(43_200_001), Millis(43_200_000)]

    failures = await queues.change_visibility("orders", handles, timeouts, soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [(1, "InvalidArgument")]
    cluster.clock.advance(31_000)
    counts = (await queues.describe("orders", soon(cluster))).counts
    assert (counts.visible, counts.in_flight) == (2, 1)


@pytest.mark.parametrize("count", [0, MAX_BATCH_ENTRIES + 1])
async def test_settling_batches_have_limits(count: int) -> None:
    cluster, services = await with_queue()
    expected = BatchTooLarge if count else BatchEmpty
    with pytest.raises(expected):
        await services.queues.delete_messages("orders", [b""] * count, soon(cluster))
    with pytest.raises(expected):
        await services.queues.change_visibility("orders", [b""] * count, [Millis(0)] * count, soon(cluster))

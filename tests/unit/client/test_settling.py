"""Acks, nacks and extensions in numbered requests."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import ReceiptHandleExpired, Unavailable
from broker.client.settling import ACK, EXTEND, NACK, Settlement, Settler, SettleRequest


def request_of(settler: Settler) -> SettleRequest:
    request = settler.next_request(0.0)
    assert request is not None
    return request


def ack(settler: Settler, handle: bytes) -> Settlement:
    settlement = Settlement(ACK, handle)
    settler.add(settlement)
    return settlement


async def test_everything_settled_since_the_last_request_shares_one() -> None:
    # given answers of all three kinds
    settler = Settler()
    for kind, handle in ((ACK, b"1"), (EXTEND, b"2"), (NACK, b"3"), (ACK, b"4")):
        settler.add(Settlement(kind, handle, 500 if kind == EXTEND else 0))

    # when the next request is made
    request = request_of(settler)

    # then it has all, by kind
    assert request.number == 1
    assert [found.handle for found in request.acks] == [b"1", b"4"]
    assert [found.handle for found in request.nacks] == [b"3"]
    assert [(found.handle, found.timeout_ms) for found in request.extensions] == [(b"2", 500)]
    assert settler.next_request(0.0) is None


async def test_refused_entries_are_counted_through_acks_nacks_and_extensions() -> None:
    # given one of each kind, the extension first
    settler = Settler()
    extension, nack, deletion = Settlement(EXTEND, b"e", 9), Settlement(NACK, b"n"), Settlement(ACK, b"a")
    for settlement in (extension, nack, deletion):
        settler.add(settlement)
    request = request_of(settler)

    # when the broker refuses entry 2
    settler.answered(request.number, {2: ReceiptHandleExpired("too late")})

    # then that is the extension
    await deletion
    await nack
    with pytest.raises(ReceiptHandleExpired, match="too late"):
        await extension
    assert settler.refused_total == 1
    assert settler.is_empty


async def test_at_most_a_window_of_requests_is_unanswered() -> None:
    settler = Settler(window=2)
    for number in range(3):
        ack(settler, b"%d" % number)
        if number < 2:
            request_of(settler)
    assert settler.next_request(0.0) is None
    settler.answered(1, {})
    assert [found.handle for found in request_of(settler).acks] == [b"2"]


async def test_a_request_has_at_most_so_many_entries() -> None:
    settler = Settler(max_entries=2)
    for number in range(5):
        ack(settler, b"%d" % number)
    assert [len(request_of(settler).acks) for _ in range(2)] == [2, 2]
    settler.answered(2, {})
    assert [found.handle for found in request_of(settler).acks] == [b"4"]


async def test_unanswered_requests_go_again_in_order_on_a_new_stream() -> None:
    # given two unanswered requests and an answer that came since
    settler = Settler(window=2)
    first = ack(settler, b"1")
    request_of(settler)
    ack(settler, b"2")
    request_of(settler)
    third = ack(settler, b"3")

    # when the stream is lost and another is open
    settler.opened()

    # then the same requests go first, under their numbers
    assert [request_of(settler).number for _ in range(2)] == [1, 2]
    assert settler.next_request(0.0) is None
    # and both answers of the first count once
    settler.answered(1, {})
    settler.answered(1, {0: ReceiptHandleExpired("gone")})
    await first
    assert request_of(settler).acks == [third]


async def test_a_request_refused_for_now_goes_again_and_one_refused_for_good_fails_all_its_entries() -> None:
    settler = Settler(window=1)
    settlement = ack(settler, b"1")
    settler.send_again(request_of(settler).number)
    again = request_of(settler)
    assert again.number == 1
    settler.refused(1, Unavailable("no"))
    with pytest.raises(Unavailable):
        await settlement


async def test_a_settlement_can_be_awaited_by_several_before_and_after_its_answer() -> None:
    # given two tasks that await one settlement, of which one is cancelled
    settler = Settler()
    settlement = ack(settler, b"1")

    async def wait() -> str:
        await settlement
        return "confirmed"

    patient, hasty = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    hasty.cancel()
    await asyncio.sleep(0)

    # when the broker confirms
    settler.answered(request_of(settler).number, {})

    # then the other learns it, and so does who asks later
    assert await patient == "confirmed"
    assert await wait() == "confirmed"


async def test_clear_fails_what_is_unconfirmed() -> None:
    settler = Settler()
    sent = ack(settler, b"1")
    request_of(settler)
    gathered = ack(settler, b"2")
    settler.clear(Unavailable("closed"))
    for settlement in (sent, gathered):
        with pytest.raises(Unavailable, match="closed"):
            await settlement
    assert settler.is_empty

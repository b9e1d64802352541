"""Prefetched messages and the credit that brings more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.errors import InvalidArgument
from broker.client.inbox import Inbox

LATER = 1_000.0


def test_the_first_grant_is_the_whole_prefetch_and_the_next_half_of_it() -> None:
    # given an inbox that asked for its prefetch and got it
    inbox: Inbox[int] = Inbox(prefetch=10)
    assert inbox.grant() == 10
    assert inbox.grant() == 0
    inbox.delivered(1, range(10), LATER)

    # when messages are taken one by one
    grants = []
    for _ in range(10):
        inbox.take(0.0)
        grants.append(inbox.grant())

    # then credit goes back in two pieces
    assert grants == [0, 0, 0, 0, 5, 0, 0, 0, 0, 5]


def test_a_delivery_seen_before_is_dropped() -> None:
    inbox: Inbox[str] = Inbox(prefetch=10)
    assert inbox.delivered(1, ["a"], LATER)
    assert inbox.delivered(2, ["b"], LATER)
    assert not inbox.delivered(2, ["b"], LATER)
    assert inbox.delivered(3, ["c"], LATER)
    assert inbox.clear() == ["a", "b", "c"]
    assert inbox.last_delivery == 3


def test_a_message_whose_visibility_timeout_is_over_is_not_handed_out() -> None:
    # given a message that waits and one that came later
    inbox: Inbox[str] = Inbox(prefetch=10)
    inbox.delivered(1, ["old"], expires_at=30.0)
    inbox.delivered(2, ["fresh"], expires_at=60.0)

    # when the first one's timeout is over
    # then only the other is handed out
    assert inbox.take(now=30.0) == ("fresh", 60.0)
    assert inbox.take(now=30.0) is None
    assert inbox.dropped_stale == 1


def test_a_new_stream_is_given_credit_for_what_is_not_here() -> None:
    # given seven messages here and credit for three
    inbox: Inbox[int] = Inbox(prefetch=10)
    inbox.grant()
    inbox.delivered(1, range(7), LATER)

    # when the stream is lost and another is open
    inbox.opened()
    # then nothing is on its way, and five here leave room for five
    assert inbox.grant() == 0
    inbox.take(0.0)
    inbox.take(0.0)
    assert inbox.grant() == 5


@pytest.mark.parametrize("prefetch", [0, -1, 10_001])
def test_prefetch_has_limits(prefetch: int) -> None:
    with pytest.raises(InvalidArgument, match=str(prefetch)):
        Inbox(prefetch)


@given(prefetch=st.integers(1, 20), choices=st.lists(st.integers(0, 6), max_size=80))
def test_credit_and_messages_never_exceed_prefetch_and_the_broker_can_always_go_on(
    prefetch: int, choices: list[int]
) -> None:
    # given a broker that delivers up to the credit it has
    inbox: Inbox[int] = Inbox(prefetch)
    credit = number = 0
    for choice in choices:
        credit += inbox.grant()
        # when it delivers some, and one is taken now and then
        batch = min(choice, credit)
        if batch:
            number += 1
            inbox.delivered(number, range(batch), LATER)
            credit -= batch
        if choice % 2:
            inbox.take(0.0)

        # then there is never more than was asked for, and never an empty inbox without credit
        credit += inbox.grant()
        assert credit + len(inbox) <= prefetch
        assert credit or len(inbox)

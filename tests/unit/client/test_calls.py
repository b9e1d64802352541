"""Request ids of unary calls."""

from __future__ import annotations

from random import Random

from broker.client.calls import Sessions


def test_a_session_serves_one_call_at_a_time_and_counts_on() -> None:
    # given a call under way
    sessions = Sessions(Random(1))
    with sessions.request_id() as first:
        first_session, first_number = first.session, first.number

        # when another begins
        with sessions.request_id() as other:
            # then it has a session of its own
            assert other.session != first_session
            assert len(other.session) == len(first_session) == 16

    # when both have ended
    with sessions.request_id() as next_one, sessions.request_id() as one_more:
        # then their sessions go on, under new numbers
        numbers = {next_one.session: next_one.number, one_more.session: one_more.number}
        assert numbers[first_session] == first_number + 1
        assert set(numbers.values()) == {2}

"""Ids for calls that came without one."""

from __future__ import annotations

from broker.machine.envelope import RequestId
from broker.services.request_ids import SESSION_BYTES, RequestIds, further
from tests.unit.services.running import random_bytes


def test_no_id_is_given_twice() -> None:
    ids = RequestIds(random_bytes)
    seen = set()
    for _ in range(10):
        together = [ids.take() for _ in range(5)]
        seen |= {(each.session, each.number) for each in together}
        for each in together:
            ids.give_back(each)
    assert len(seen) == 50


def test_calls_at_the_same_time_have_sessions_of_their_own_and_later_ones_share_them() -> None:
    ids = RequestIds(random_bytes)
    together = [ids.take() for _ in range(300)]
    for each in together:
        ids.give_back(each)
    later = [ids.take() for _ in range(300)]

    assert len({each.session for each in together}) == 300
    assert {each.session for each in later} == {each.session for each in together}
    assert {each.number for each in later} == {2}


def test_the_further_steps_of_a_call_have_ids_of_their_own_that_follow_from_its_id() -> None:
    calls = [RequestId(bytes([session]) * 16, number) for session in (1, 2) for number in (1, 2, 2**63 - 1)]

    ids = [further(call, step) for call in calls for step in (1, 2)]

    assert len({(each.session, each.number) for each in [*calls, *ids]}) == len(calls) + len(ids)
    assert all(len(each.session) == SESSION_BYTES for each in ids)
    assert ids == [further(call, step) for call in calls for step in (1, 2)]

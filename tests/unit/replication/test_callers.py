from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import DeadlineExceeded, NotLeader, Overloaded
from broker.base.instants import Millis
from broker.replication.callers import CallerLimits, Callers

SOON = Millis(1_000)


async def test_a_caller_gets_its_answer_or_its_error() -> None:
    callers = Callers(CallerLimits())
    first, answered = callers.ask(10, SOON)
    second, refused = callers.ask(10, SOON)
    callers.answer(first, "yes")
    callers.refuse(second, NotLeader("elsewhere"))
    assert await answered == "yes"
    with pytest.raises(NotLeader):
        await refused


async def test_callers_are_bounded_by_number_and_by_bytes_and_leaving_makes_room() -> None:
    callers = Callers(CallerLimits(pending=2, pending_bytes=100))
    first, _ = callers.ask(1_000, SOON)
    with pytest.raises(Overloaded, match="1 requests with 1000 bytes wait on this node already, of 2 with 100"):
        callers.ask(1, SOON)
    callers.leave(first)
    callers.ask(1, SOON)
    callers.ask(1, SOON)
    with pytest.raises(Overloaded, match="2 requests"):
        callers.ask(1, SOON)


async def test_long_polls_do_not_take_the_room_of_callers_and_are_bounded_themselves() -> None:
    callers = Callers(CallerLimits(pending=1, polls=3))
    polls = [callers.poll() for _ in range(3)]
    with pytest.raises(Overloaded, match="3 long polls wait on this node, its limit"):
        callers.poll()
    callers.ask(1, SOON)
    token, woken = polls[0]
    callers.answer(token, True)
    assert await woken is True
    callers.leave(token)
    callers.poll()


async def test_whose_time_is_up_is_told_so() -> None:
    callers = Callers(CallerLimits())
    _, late = callers.ask(1, Millis(100))
    _, patient = callers.ask(1, Millis(10_000))
    callers.wake(Millis(200))
    with pytest.raises(DeadlineExceeded):
        await late
    assert not patient.done()


async def test_who_was_cancelled_is_not_told_anything() -> None:
    callers = Callers(CallerLimits())
    token, gone = callers.ask(1, Millis(100))
    gone.cancel()
    callers.answer(token, "too late")
    callers.wake(Millis(200))
    await asyncio.wait([gone])
    callers.leave(token)
    callers.answer(token, "nobody")


async def test_very_long_deadlines_of_answered_calls_are_not_kept_for_ever() -> None:
    callers = Callers(CallerLimits())
    for _ in range(300_000):
        token, _ = callers.ask(1, Millis(86_400_000))
        callers.leave(token)
    assert len(callers._timeouts) <= 100_001

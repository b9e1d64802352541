"""Calls between nodes: carried out, bounded, refused; two ends joined by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from broker.aio.tasks import TaskScope
from broker.base.errors import Overloaded, Unavailable
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.replication.calls import Calls, Limits
from broker.replication.frames import Call, CallReply, PeerFrame, Talk

A, B = NodeId("a"), NodeId("b")
LIMITS = Limits(calls=2, size=100)


@pytest.fixture
async def scope() -> AsyncIterator[TaskScope]:
    def fail(name: str, error: BaseException) -> None:
        raise AssertionError(f"{name} failed") from error

    async with TaskScope("test", fail) as scope:
        yield scope


def calls_of(scope: TaskScope, limits: Limits = LIMITS) -> Calls:
    return Calls(scope, lambda: None, limits)


class Held:
    """A handler that answers when it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0

    async def __call__(self, payload: bytes) -> bytes:
        self.running += 1
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        return payload


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def replies_of(calls: Calls) -> list[CallReply]:
    return calls.take_talk().get(B, Talk()).replies


def frame_of(*calls: tuple[int, bytes]) -> PeerFrame:
    return PeerFrame(calls=[Call(number, "echo", payload, Millis(5_000)) for number, payload in calls])


async def outcome(call: Awaitable[bytes]) -> bytes | type[Exception]:
    try:
        return await call
    except Exception as error:
        return type(error)


async def test_a_call_is_answered(scope: TaskScope) -> None:
    here, there = calls_of(scope), calls_of(scope)
    held = Held()
    there.serve("echo", held)
    call = asyncio.ensure_future(here.call(B, "echo", b"hello", Millis(5_000)))
    await settle()
    held.go.set()
    there.arrived(B, PeerFrame(calls=here.take_talk()[B].calls))
    await settle()
    here.arrived(B, PeerFrame(replies=replies_of(there)))
    assert await call == b"hello"


async def test_more_calls_than_a_node_takes_on_for_others_are_refused_at_once(scope: TaskScope) -> None:
    calls, held = calls_of(scope), Held()
    calls.serve("echo", held)
    calls.arrived(B, frame_of((1, b"x"), (2, b"x"), (3, b"x")))
    await settle()
    [refused] = replies_of(calls)
    assert held.running == 2
    assert refused.id == 3
    assert refused.refusal is not None
    assert refused.refusal.code == "Overloaded"
    assert "its limit is 2" in refused.refusal.message

    held.go.set()
    await settle()
    assert sorted(reply.id for reply in replies_of(calls)) == [1, 2]
    calls.arrived(B, frame_of((4, b"x")))
    await settle()
    assert [reply.refusal for reply in replies_of(calls)] == [None]


async def test_their_bytes_are_bounded_too_but_one_always_passes(scope: TaskScope) -> None:
    calls, held = calls_of(scope), Held()
    calls.serve("echo", held)
    calls.arrived(B, frame_of((1, bytes(1_000)), (2, b"x")))
    await settle()
    assert [reply.id for reply in replies_of(calls)] == [2]
    assert held.running == 1


async def test_a_call_for_which_the_connection_has_no_room_fails_at_once(scope: TaskScope) -> None:
    calls = calls_of(scope)
    call = asyncio.ensure_future(calls.call(B, "echo", b"hello", Millis(5_000)))
    await settle()
    calls.not_sent(B, calls.take_talk()[B])
    with pytest.raises(Overloaded, match="nothing happened"):
        await call
    assert calls.take_talk() == {}


async def test_a_peer_that_is_gone_frees_what_was_worked_on_for_it(scope: TaskScope) -> None:
    calls, held = calls_of(scope), Held()
    calls.serve("echo", held)
    for _ in range(3):  # it starts again and again, and numbers its calls from 1 each time
        calls.arrived(B, frame_of((1, b"x"), (2, b"x")))
        await settle()
        assert held.running == 2
        calls.peer_gone(B)
        calls.arrived(B, frame_of((1, b"x")))
        await settle()
        assert [reply.id for reply in replies_of(calls)] in ([], [1])
        calls.arrived(B, PeerFrame(cancels=[1]))
        await settle()
        assert held.running == 0


async def test_a_number_used_twice_does_not_hide_the_first_call(scope: TaskScope) -> None:
    calls, held = calls_of(scope), Held()
    calls.serve("echo", held)
    calls.arrived(B, frame_of((1, b"x"), (1, b"x")))
    await settle()
    assert held.running == 1


async def test_callers_learn_that_the_connection_ended(scope: TaskScope) -> None:
    calls = calls_of(scope)
    call = asyncio.ensure_future(outcome(calls.call(B, "echo", b"hello", Millis(5_000))))
    await settle()
    calls.peer_gone(B)
    assert await call is Unavailable

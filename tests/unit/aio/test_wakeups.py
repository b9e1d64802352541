"""Wake-ups of gRPC are read all at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from broker.aio.wakeups import all_read_at_once


class PollerCompletionQueue:
    """As that of grpc.aio: writes a byte for each event, and reads one when it is called."""

    def __init__(self) -> None:
        self.reads, self.writes = socket.socketpair()
        self.called = asyncio.Event()
        self.calls = 0

    def handle(self) -> None:
        assert self.reads.recv(1)
        self.calls += 1
        self.called.set()

    def happen(self, events: int) -> None:
        self.writes.send(b"1" * events)

    def left(self) -> int:
        try:
            return len(self.reads.recv(100, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return 0


class Other(PollerCompletionQueue):
    """Whose bytes are its own business."""


@pytest.fixture
async def make() -> AsyncIterator[Callable[[type[PollerCompletionQueue]], PollerCompletionQueue]]:
    made: list[PollerCompletionQueue] = []

    def new(kind: type[PollerCompletionQueue]) -> PollerCompletionQueue:
        made.append(kind())
        return made[-1]

    yield new
    for each in made:
        asyncio.get_running_loop().remove_reader(each.reads)
        each.reads.close()
        each.writes.close()


Make = Callable[[type[PollerCompletionQueue]], PollerCompletionQueue]


async def test_bytes_that_have_come_meanwhile_do_not_pile_up(make: Make) -> None:
    # given a queue that is woken a number of times, each time by many events
    queue = make(PollerCompletionQueue)
    with all_read_at_once():
        asyncio.get_running_loop().add_reader(queue.reads, partial(queue.handle))
    for _ in range(12):
        queue.called.clear()
        queue.happen(9)
        await queue.called.wait()

    # when the last ones are read
    while queue.left():
        queue.called.clear()
        await queue.called.wait()

    # then it was not woken once for each of them
    assert queue.calls < 12 * 9 // 2


async def test_nobody_elses_bytes_are_read_and_nothing_is_changed_afterwards(make: Make) -> None:
    other, late = make(Other), make(PollerCompletionQueue)
    with all_read_at_once():
        asyncio.get_running_loop().add_reader(other.reads, other.handle)
    asyncio.get_running_loop().add_reader(late.reads, late.handle)
    for queue in (other, late):
        queue.happen(7)
        await queue.called.wait()
        assert queue.calls + queue.left() == 7


def test_outside_of_an_event_loop_it_does_nothing() -> None:
    with all_read_at_once():
        pass

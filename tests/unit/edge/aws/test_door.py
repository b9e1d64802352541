from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.aio.tasks import TaskScope
from broker.base.instants import Millis, WallMillis
from broker.edge.aws.door import Door, Limits
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.telemetry.metrics import Registry


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def monotonic(self) -> Millis:
        return Millis(self.now)

    def wall(self) -> WallMillis:
        return WallMillis(self.now)


class Connection:
    def __init__(self, name: str, told: list[str]) -> None:
        self.busy = False
        self._name = name
        self._told = told

    def expire(self) -> None:
        self._told.append(f"{self._name} expires")

    def drain(self) -> None:
        self._told.append(f"{self._name} drains")

    def give_up(self) -> None:
        self._told.append(f"{self._name} gives up")

    def abort(self) -> None:
        self._told.append(f"{self._name} aborts")


async def nothing(_request: Request) -> Document:
    return Document(200, (), b"")


class Scene:
    def __init__(self, scope: TaskScope) -> None:
        self.clock = Clock()
        self.told: list[str] = []
        self.door = Door(nothing, Limits(connections=2, bodies_size=100), self.clock, scope, Registry())

    def opened(self, name: str) -> Connection:
        connection = Connection(name, self.told)
        self.door.opened(connection)
        return connection


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with TaskScope("test", lambda _name, _error: None) as scope:
        yield Scene(scope)


async def test_only_those_expire_whose_time_is_up(scene: Scene) -> None:
    a, b = scene.opened("a"), scene.opened("b")
    scene.door.await_client(a, Millis(100))
    scene.door.await_client(b, Millis(200))
    scene.clock.now = 100
    scene.door.expire()
    scene.door.expire()
    assert scene.told == ["a expires"]
    scene.door.heard(b)
    scene.clock.now = 1_000
    scene.door.expire()
    assert scene.told == ["a expires"]


async def test_the_one_that_waited_for_longest_makes_room_and_nobody_who_is_served(scene: Scene) -> None:
    a, b = scene.opened("a"), scene.opened("b")
    scene.door.await_client(a, Millis(100))
    scene.door.await_client(b, Millis(100))
    scene.door.heard(a)
    scene.opened("c")
    assert scene.told == ["b aborts"]
    scene.door.closed(b)
    scene.opened("d")
    assert scene.told == ["b aborts", "d aborts"]


async def test_room_for_bodies_is_bounded_and_comes_back(scene: Scene) -> None:
    assert scene.door.take(60)
    assert not scene.door.take(41)
    assert scene.door.take(40)
    scene.door.give_back(60)
    assert scene.door.take(60)


async def test_stopping_is_told_to_all(scene: Scene) -> None:
    scene.opened("a").busy = True
    scene.opened("b")
    assert (scene.door.connections, scene.door.busy) == (2, 1)
    scene.door.drain()
    scene.door.give_up()
    scene.door.abort()
    assert sorted(scene.told) == [f"{name} {what}" for name in "ab" for what in ("aborts", "drains", "gives up")]


async def test_the_date_is_that_of_the_wall_clock(scene: Scene) -> None:
    assert scene.door.date() == b"Thu, 01 Jan 1970 00:00:00 GMT"
    scene.clock.now = 1_999
    assert scene.door.date() == b"Thu, 01 Jan 1970 00:00:01 GMT"

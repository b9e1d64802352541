"""Those who take, look up and give back names in the directory, all of them the same few: their calls overlap."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from broker.base.ids import DIRECTORY_GROUP
from broker.domain.directory import commands as directory
from tests.simulation.checkers.directory_history import DONE, REFUSED, Call
from tests.simulation.client import GAVE_UP, Change, Read, Story
from tests.simulation.court import DIRECTORY
from tests.simulation.scene import Scene

KIND = "name"


class Registering:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._known: dict[str, int] = {}
        """The id that somebody was told last, by name."""

    def register(self) -> Story:
        scene = self._scene
        while not scene.ended:
            yield scene.think()
            name = f"name-{scene.chance.randrange(2)}"
            what = scene.chance.choices((self._find, self._place, self._step), (4, 2, 4))[0]
            yield from what(name)

    def _find(self, name: str) -> Generator[Any, Any, None]:
        call = self._scene.court.directory.began(name, "find", self._scene.now)
        found = yield Read(DIRECTORY_GROUP, DIRECTORY, directory.FindResource(KIND, name), certain=True)
        if found is not GAVE_UP:
            call.ended = self._scene.now
            call.told = (None if found is None else (found.id, found.state),)

    def _place(self, name: str) -> Generator[Any, Any, None]:
        call = self._scene.court.directory.began(name, "place", self._scene.now)
        reply = yield Change(DIRECTORY_GROUP, DIRECTORY, directory.PlaceResource(KIND, name))
        if type(reply) is directory.Placed:
            call.ended = self._scene.now
            call.told = ("placed", reply.resource.id, reply.created)
            self._known[name] = reply.resource.id
        else:
            self._end(call, reply)

    def _step(self, name: str) -> Generator[Any, Any, None]:
        """Something about the id known for the name, which may be gone."""
        known = self._known.get(name)
        if known is None:
            return
        kind, command = self._scene.chance.choice(
            (
                ("activate", directory.ActivateResource(KIND, known)),
                ("retire", directory.RetireResource(KIND, known)),
                ("forget", directory.ForgetResource(KIND, known)),
            )
        )
        call = self._scene.court.directory.began(name, kind, self._scene.now, known)
        reply = yield Change(DIRECTORY_GROUP, DIRECTORY, command)
        self._end(call, reply)

    def _end(self, call: Call, reply: Any) -> None:
        """Whoever gave up does not know what came of it."""
        if type(reply) in (directory.Done, directory.Refused):
            call.ended = self._scene.now
            call.told = DONE if type(reply) is directory.Done else REFUSED

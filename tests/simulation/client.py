"""A client: asks any node, follows hints to leaders, and retries under the same request id until it is answered.

What clients do is written as generators that yield what they wait for: a Change, a Read or a Pause. The network between
clients and nodes loses and doubles requests and replies as the seed says, and knows no partitions: a client may well
reach a leader that its peers cannot.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from broker.base.errors import DataCorrupt, NotLeader
from broker.base.ids import GroupId
from broker.machine.envelope import RequestId
from broker.replication import inputs
from tests.simulation.court import Court
from tests.simulation.node import SimulatedNode
from tests.simulation.rates import Rates
from tests.simulation.world import MILLISECOND, World

_PATIENCE = (150 * MILLISECOND, 400 * MILLISECOND, 1_500 * MILLISECOND)
"""How long an attempt waits for its answer."""

_encoder = msgspec.msgpack.Encoder()


class Pause(msgspec.Struct, frozen=True):
    """Microseconds."""

    duration: int


class Change(msgspec.Struct, frozen=True):
    """A command to be applied once. Yields the machine's reply, or None when the client gave up."""

    group: GroupId
    room: str
    command: Any


class Read(msgspec.Struct, frozen=True):
    """A strong read. Yields the answer, or None when the client gave up."""

    group: GroupId
    room: str
    question: Any
    certain: bool = False
    """Tell an answer that is None from none: by GAVE_UP."""


GAVE_UP = object()
Story = Generator[Pause | Change | Read, Any, None]


class Client:
    def __init__(self, name: str, world: World, rates: Rates, court: Court, nodes: list[SimulatedNode]) -> None:
        self.name = name
        self.open = 0
        """Stories that have not ended."""
        self.patient = False
        """Nothing is given up any more."""
        self._world = world
        self._rates = rates
        self._court = court
        self._nodes = nodes
        self._chance = world.chance(f"client {name}")
        self._sessions: dict[GroupId, bytes] = {}
        self._numbers: dict[GroupId, int] = {}
        self._hints: dict[GroupId, SimulatedNode] = {}

    def tell(self, story: Story) -> None:
        self.open += 1
        self._go_on(story, None)

    def behave(self) -> None:
        """No more faults between this client and the nodes, and no impatience."""
        self.patient = True
        self._rates = Rates()

    def next_request(self, group: GroupId) -> RequestId:
        session = self._sessions.get(group)
        if session is None:
            session = self._sessions[group] = self._chance.randbytes(16)
        self._numbers[group] = number = self._numbers.get(group, 0) + 1
        return RequestId(session, number)

    def _go_on(self, story: Story, value: Any) -> None:
        try:
            wanted = story.send(value)
        except StopIteration:
            self.open -= 1
            return
        if type(wanted) is Pause:
            self._world.after(wanted.duration, self._go_on, story, None)
        else:
            Asking(self, story, wanted).attempt()

    # --- what an Asking needs

    def choose(self, group: GroupId, stickiness: float) -> SimulatedNode:
        hint = self._hints.get(group)
        if hint is not None and self._chance.random() < stickiness:
            return hint
        return self._chance.choice(self._nodes)

    def hint(self, group: GroupId, leader: str | None) -> None:
        for node in self._nodes:
            if node.name == leader:
                self._hints[group] = node
                return
        self._hints.pop(group, None)


class Asking:
    """One request until it is answered, over as many attempts as it takes."""

    def __init__(self, client: Client, story: Story, wanted: Change | Read) -> None:
        self._client = client
        self._story = story
        self._wanted = wanted
        self._attempt = 0
        self._over = False
        self._request: RequestId | None = None
        self._data = b""
        if type(wanted) is Change:
            self._request = client.next_request(wanted.group)
            self._data = _encoder.encode(wanted.command)
            client._world.note_bytes(self._data)
        asked = type(wanted.command if type(wanted) is Change else wanted.question).__name__
        self._name = asked
        client._world.under_way[asked] += 1
        client._world.note(client.name, "asks", wanted.group, asked, self._request)

    def attempt(self) -> None:
        client = self._client
        self._attempt += 1
        if self._attempt > 1:
            client._world.counts["request retry"] += 1
            if not client.patient and client._chance.random() < 0.02:
                self._end(GAVE_UP if type(self._wanted) is Read and self._wanted.certain else None)
                return
        # Readers wander: one who reads where another has just written finds stale answers.
        node = client.choose(self._wanted.group, 0.9 if type(self._wanted) is Change else 0.4)
        client._world.counts["request"] += 1
        copies = 2 if client._chance.random() < client._rates.request_duplication else 1
        for _ in range(copies):
            client._world.after(client._chance.randrange(100, 1_000), self._arrive, node, self._attempt)
        client._world.after(client._chance.choice(_PATIENCE), self._time_out, self._attempt)

    def _arrive(self, node: SimulatedNode, attempt: int) -> None:
        if not node.up:
            self._client._world.after(500, self._refused, attempt)
            return

        def answered(answer: inputs.Answer) -> None:
            self._answered(node, attempt, answer)

        wanted = self._wanted
        if type(wanted) is Change:
            node.propose(wanted.group, wanted.room, self._data, self._request, answered)
        else:
            node.query(wanted.group, wanted.room, wanted.question, answered)

    def _answered(self, node: SimulatedNode, attempt: int, answer: inputs.Answer) -> None:
        """In the node's process, at once: the bodies of a delivery are read there."""
        client = self._client
        reply = answer.reply
        if answer.error is None and self._request is not None:
            request = (self._request.session, self._request.number)
            client._court.requests.acknowledged(self._wanted.group, request, reply)
            try:
                reply = client._court.with_bodies(self._wanted.group, self._wanted.command, reply, node.entry)
            except (DataCorrupt, NotLeader):
                client._world.counts["reply unreadable"] += 1
                return
        if client._chance.random() < client._rates.reply_loss:
            client._world.counts["replies lost"] += 1
            return
        delay = client._chance.randrange(100, 1_000)
        client._world.after(delay, self._told, node, attempt, reply, answer.error)

    def _told(self, node: SimulatedNode, attempt: int, reply: Any, error: Exception | None) -> None:
        if self._over:
            return
        if error is None:
            self._client.hint(self._wanted.group, node.name)
            self._client._world.note(self._client.name, "is told", self._request, reply)
            self._end(reply)
            return
        self._client._world.counts[f"refused: {type(error).__name__}"] += 1
        if attempt == self._attempt:
            self._client.hint(self._wanted.group, error.leader if isinstance(error, NotLeader) else None)
            self._again(attempt, self._client._chance.randrange(5, 100) * MILLISECOND)

    def _refused(self, attempt: int) -> None:
        """Nobody listens there."""
        if attempt == self._attempt and not self._over:
            self._client.hint(self._wanted.group, None)
            self._again(attempt, self._client._chance.randrange(5, 100) * MILLISECOND)

    def _time_out(self, attempt: int) -> None:
        if attempt == self._attempt and not self._over:
            self._client._world.counts["request timed out"] += 1
            self._client.hint(self._wanted.group, None)
            self.attempt()

    def _again(self, attempt: int, delay: int) -> None:
        def go() -> None:
            if attempt == self._attempt and not self._over:
                self.attempt()

        self._client._world.after(delay, go)

    def _end(self, reply: Any) -> None:
        self._over = True
        self._client._world.under_way[self._name] -= 1
        self._client._go_on(self._story, reply)

"""Where what happens in the cluster meets the checkers.

The court sees every entry that any machine applies. The first machine to apply an index writes history: the naive queue
model follows it and the queue checkers judge it. Every later application at that index must repeat it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from broker.base.ids import GroupId, Index
from broker.base.instants import WallMillis
from broker.domain.queues import commands as queues
from broker.domain.queues import model, questions
from broker.machine import envelope
from broker.machine.contract import Applied
from broker.machine.replicated import ReplicatedMachine
from tests.simulation.checkers.applications import Application, CommittedUnchanged, MachinesIdentical
from tests.simulation.checkers.conservation import Conservation
from tests.simulation.checkers.counts import ExactCounts
from tests.simulation.checkers.deliveries import NoDoubleDelivery, OneValidHandle
from tests.simulation.checkers.elections import LeaderCompleteness, OneLeaderPerTerm
from tests.simulation.checkers.linearizability import LinearizableReads
from tests.simulation.checkers.logs import LogMatching
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.recovery import Recovery
from tests.simulation.checkers.requests import AppliedOnce
from tests.simulation.checkers.violation import Violation
from tests.simulation.world import SECOND, World

QUEUES = "queues"
DIRECTORY = "directory"

_DUMP_EVERY = 64
"""Machines are compared byte by byte at multiples of this index, and wherever a snapshot is made or loaded."""

_command_decoder = msgspec.msgpack.Decoder(queues.Command)


_messages_decoder = msgspec.msgpack.Decoder(list[model.Message])


class Received(msgspec.Struct, frozen=True):
    messages: tuple[tuple[queues.Delivery, bytes | None], ...]


class Court:
    def __init__(self, world: World) -> None:
        self.history = CommittedUnchanged()
        self.machines = MachinesIdentical()
        self.requests = AppliedOnce()
        self.leaders = OneLeaderPerTerm()
        self.completeness = LeaderCompleteness()
        self.logs = LogMatching()
        self.reads = LinearizableReads()
        self.conservation = Conservation()
        self.counts = ExactCounts()
        self.recovery = Recovery(bound=20 * SECOND)
        self._deliveries = NoDoubleDelivery()
        self._handles = OneValidHandle()
        self._models: dict[int, QueueModel] = {}
        self._times: dict[int, int] = {}
        self._world = world

    def model(self, group: int) -> QueueModel:
        model = self._models.get(group)
        if model is None:
            model = self._models[group] = QueueModel()
        return model

    def applied(self, node: str, group: int, index: int, data: bytes, applied: Applied) -> bool:
        """True if no machine had applied at this index before."""
        now = Application(data, applied.reply, applied.effects, node)
        if not self.history.applied(group, index, now):
            return False
        entry = envelope.decode(data)
        at = self._times[group] = max(self._times.get(group, 0), entry.at)
        self._world.note("applied", group, index, entry.room, applied.reply)
        if entry.room == envelope.TICK_ROOM:
            self._world.counts["tick"] += 1
            return True
        if entry.request is not None:
            request = (entry.request.session, entry.request.number)
            if not self.requests.applied(group, index, request, applied.reply):
                self._world.counts["request retry deduplicated"] += 1
                return True
        if entry.room == QUEUES:
            self._judge(group, index, at, _command_decoder.decode(entry.command), applied.reply)
        return True

    def counted(self, node: str, group: int, applied: int, question: Any, answer: Any) -> None:
        """A machine that had applied up to ``applied`` answered. Counts are told as of the machine's time."""
        self._world.counts["read index"] += 1
        if type(question) is questions.CountsOf and applied == self.history.head(group):
            self.counts.counted(self.model(group), question, answer, self._times.get(group, 0), node)

    def placed(self, name: str, found: Any) -> None:
        """A strong read of the directory, begun after ``name`` was placed there, ended."""
        if found is not None and found.name != name:
            raise Violation(LinearizableReads.name, f"the directory was asked for {name} and answered {found}")

    def with_bodies(self, group: int, command: Any, reply: Any, entry: Callable[[GroupId, int], bytes | None]) -> Any:
        """What a consumer gets to see of a reply: deliveries with bodies, read from the log of the answering node.

        A retried receive may tell of messages that others have received and deleted since: those are left out.
        """
        if type(reply) is not queues.Deliveries:
            return reply
        present = self.model(group).queues[command.queue].messages
        messages = []
        for delivery in reply.deliveries:
            data = entry(GroupId(group), delivery.index)
            if data is not None:
                send = _command_decoder.decode(envelope.decode(data).command)
                messages.append((delivery, _messages_decoder.decode(send.messages)[delivery.slot].body))
            elif (delivery.index, delivery.slot) in present:
                messages.append((delivery, None))
        return Received(tuple(messages))

    def _judge(self, group: int, index: int, now: int, command: Any, reply: Any) -> None:
        model = self.model(group)
        if command.queue in model.queues:
            if type(command) is queues.Receive and type(reply) is queues.Deliveries:
                self._deliveries.received(model, command, reply, index, now)
            elif type(reply) is queues.Results:
                self._handles.handled(model, command, reply, index, now)
        model.follow(command, reply, index, now)


class ObservedMachine:
    """A group's real machine on one node, whose every step the court sees. ``terms`` tells the term of an entry and
    that of the replica."""

    def __init__(
        self,
        court: Court,
        node: str,
        group: GroupId,
        machine: ReplicatedMachine,
        terms: Callable[[int], tuple[int, int]],
    ) -> None:
        self._court = court
        self._terms = terms
        self._node = node
        self._group = group
        self._machine = machine
        self.applied = 0

    def apply(self, data: bytes, index: Index) -> Applied:
        applied = self._machine.apply(data, index)
        self.applied = index
        if self._court.applied(self._node, self._group, index, data, applied):
            term, known_in = self._terms(index)
            self._court.completeness.applied(self._group, index, term, known_in)
        if index % _DUMP_EVERY == 0:
            self.compare()
        return applied

    def compare(self) -> None:
        self._court.machines.dumped(self._node, self._group, self.applied, b"".join(self._machine.dump()))

    def query(self, room: str, question: Any, at: WallMillis) -> Any:
        answer = self._machine.query(room, question, at)
        self._court.counted(self._node, self._group, self.applied, question, answer)
        return answer

    def next_deadline(self) -> WallMillis | None:
        return self._machine.next_deadline()

    def dump(self) -> Iterator[bytes]:
        self.compare()
        return self._machine.dump()

    def load(self, pieces: Iterable[bytes]) -> None:
        self._machine.load(pieces)
        self.applied = self._machine.applied_index
        self.compare()

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return self._machine.live_entries()

    def replay(self, session: bytes, after: int) -> list[tuple[int, Any]]:
        return self._machine.replay(session, after)

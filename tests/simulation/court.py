"""Where what happens in the cluster meets the checkers.

The court sees every entry that any machine applies. The first machine to apply an index writes history: the judge of
the queues hears it. Every later application at that index must repeat it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId
from broker.base.instants import WallMillis
from broker.domain.queues import commands as queues
from broker.domain.queues import model, questions
from broker.machine import envelope
from broker.machine.contract import Applied
from broker.machine.outbox import WAKE_KEY
from tests.simulation.checkers.applications import Application, CommittedUnchanged, MachinesIdentical
from tests.simulation.checkers.conservation import Conservation
from tests.simulation.checkers.directory_history import DirectoryHistory
from tests.simulation.checkers.elections import LeaderCompleteness, OneLeaderPerTerm
from tests.simulation.checkers.linearizability import LinearizableReads
from tests.simulation.checkers.log_time import LogTime
from tests.simulation.checkers.logs import LogMatching
from tests.simulation.checkers.recovery import Recovery
from tests.simulation.checkers.requests import AppliedOnce
from tests.simulation.checkers.violation import Violation
from tests.simulation.judge import Judge
from tests.simulation.world import SECOND, World

QUEUES = "queues"
DIRECTORY = "directory"

_EVERYTHING = 1_000_000

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
        self.recovery = Recovery("service returns in bounded time after healing", bound=20 * SECOND)
        self.healing = Recovery("replicas are given back in bounded time", bound=60 * SECOND)
        self.judge = Judge(world.counts)
        self.conservation = Conservation(self.judge.journeys.birth)
        self.log_time = LogTime()
        self.directory = DirectoryHistory()
        self._times: dict[int, int] = {}
        self._world = world

    def applied(
        self, node: str, group: int, index: int, data: bytes, applied: Applied, ask: Callable[[Any], Any]
    ) -> bool:
        """True if no machine had applied at this index before. ``ask`` puts a question to the machine that did."""
        now = Application(data, applied.reply, applied.effects, node)
        if not self.history.applied(group, index, now):
            return False
        entry = envelope.decode(data)
        self.log_time.stamped(group, index, entry.at)
        at = self._times[group] = max(self._times.get(group, 0), entry.at)
        self._world.note("applied", group, index, entry.room, applied.reply)
        parcels: tuple[questions.Parcel, ...] = ()
        if any(effect.key == WAKE_KEY for effect in applied.effects):
            parcels = ask(questions.Leaving(self.judge.model(group).last_departed, _EVERYTHING))
        self.judge.passed(group, at)
        command = self._command_of(group, index, entry, applied.reply)
        self.judge.applied(group, command, applied.reply, parcels, index, at)
        self.judge.emitted(group, applied.effects, index, at)
        return True

    def _command_of(self, group: int, index: int, entry: envelope.Envelope, reply: Any) -> Any:
        """What an entry told the queues to do; None when that is nothing."""
        if entry.room == envelope.TICK_ROOM:
            self._world.counts["tick"] += 1
            return None
        if entry.request is not None:
            request = (entry.request.session, entry.request.number)
            if not self.requests.applied(group, index, request, reply):
                self._world.counts["request retry deduplicated"] += 1
                return None
        if entry.room != QUEUES or type(reply) is Refusal:
            return None
        return _command_decoder.decode(entry.command)

    def answered(self, node: str, group: int, applied: int, question: Any, answer: Any, at: WallMillis) -> None:
        """A machine that had applied up to ``applied`` answered."""
        self._world.counts["read index"] += 1
        self.judge.told(question, answer, node)
        if applied == self.history.head(group):
            self.judge.answered(group, question, answer, self._times.get(group, 0), at, node)

    def placed(self, name: str, found: Any) -> None:
        """A strong read of the directory, begun after ``name`` was placed there, ended."""
        if found is not None and found.name != name:
            raise Violation(LinearizableReads.name, f"the directory was asked for {name} and answered {found}")

    def now(self, group: int) -> int:
        """Machine time of a group, in milliseconds."""
        return self._times.get(group, 0)

    def left(self) -> str:
        """What is in the queues and between them, empty when nothing is."""
        queues = [queue for model in self.judge.models for queue in model.queues.values()]
        held = [f"{queue.name} {len(queue.messages)}" for queue in queues if queue.messages]
        on_their_way = [f"outbox of {model.group} {len(model.outbox)}" for model in self.judge.models if model.outbox]
        return ", ".join([*held, *on_their_way])

    def with_bodies(self, group: int, command: Any, reply: Any, entry: Callable[[GroupId, int], bytes | None]) -> Any:
        """What a consumer gets to see of a reply: deliveries with bodies, read from the log of the answering node.

        A retried receive may tell of messages that others have received and deleted since: those are left out.
        """
        if type(reply) is not queues.Deliveries:
            return reply
        queue = self.judge.model(group).queues.get(command.queue)
        messages = []
        for delivery in reply.deliveries:
            data = entry(GroupId(group), delivery.index)
            if data is not None:
                messages.append((delivery, _body(data, delivery.slot)))
            elif queue is not None and (delivery.index, delivery.slot) in queue.messages:
                messages.append((delivery, None))
        return Received(tuple(messages))


def _body(data: bytes, slot: int) -> bytes:
    """Of the message that an entry brought."""
    command = _command_decoder.decode(envelope.decode(data).command)
    brought = command.send if type(command) is queues.Exchange else command
    return _messages_decoder.decode(brought.messages)[slot].body

"""The courier of a simulated node: the product's own decisions and parcels, driven in virtual time over bad lines.

For each group that the node leads, what services/courier.py does with tasks and time-outs is done here with events.
What is under way to another group may be lost, doubled or late by seconds; when the process dies everything here is
gone, and a successor begins anew with what it finds in the outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Protocol

import msgspec

from broker.base.errors import BrokerError, NotLeader, Unavailable
from broker.base.ids import DIRECTORY_GROUP, GroupId, Index, NodeId, QueueId
from broker.base.instants import Clock, Millis
from broker.domain.directory.commands import FindResource
from broker.domain.queues.commands import Retarget, Shipped
from broker.domain.queues.model import Target
from broker.machine.contract import Effect
from broker.machine.outbox import WAKE_KEY
from broker.replication import inputs
from broker.services.carrying import (
    Answered,
    Carry,
    Carrying,
    CarryingSettings,
    Input,
    Note,
    Noted,
    Output,
    Stuck,
    Unanswered,
    Unnoted,
    Woken,
)
from broker.services.contents import Contents
from broker.services.parcels import QueueParcels, stale
from tests.simulation.checkers.violation import Violation
from tests.simulation.clock import NodeClock
from tests.simulation.court import DIRECTORY, QUEUES
from tests.simulation.network import Network
from tests.simulation.rates import Rates
from tests.simulation.world import MILLISECOND, SECOND, World

STEP_TIME = 700 * MILLISECOND
"""How long an answer is waited for."""

_encoder = msgspec.msgpack.Encoder()

Reply = Callable[[Any, BrokerError | None], None]


def draw_settings(chance: Random) -> CarryingSettings:
    return CarryingSettings(
        look_ahead=chance.choice((20, 100, 10_000)),
        page=chance.choice((3, 20)),
        read=chance.choice((1, 3_000_000)),
        batch=chance.choice((3, 10, 100)),
        first_pause=Millis(20),
        longest_pause=Millis(600),
    )


class Carrier(Protocol):
    """A node as its courier sees it. ``work`` runs something in its process, after a delay, if it still lives then."""

    name: str
    clock: NodeClock
    time: Clock

    @property
    def up(self) -> bool: ...
    @property
    def groups(self) -> Iterable[GroupId]: ...
    def leads(self, group: GroupId) -> bool: ...
    def leader_of(self, group: GroupId) -> str | None: ...
    def machine(self, group: GroupId) -> Any: ...
    def entry(self, group: GroupId, index: Index) -> bytes | None: ...
    def work(self, delay: int, act: Callable[..., None], *arguments: Any) -> None: ...
    def propose(
        self, group: GroupId, room: str, command: bytes, request: None, answered: Callable[[inputs.Answer], None]
    ) -> None: ...
    def query(self, group: GroupId, room: str, question: Any, answered: Callable[[inputs.Answer], None]) -> None: ...


class Roads:
    """What couriers share: how to reach any node, and how bad the ways are."""

    def __init__(self, world: World, rates: Rates, network: Network, settings: CarryingSettings) -> None:
        self.world = world
        self.rates = rates
        self.settings = settings
        self.chance = world.chance("couriers")
        self.network = network
        self._ends: dict[str, Carrier] = {}
        self._hints: dict[GroupId, str] = {}
        self.strike: Callable[[str], None] = lambda name: None
        self.strike_forming: Callable[[tuple[NodeId, ...]], None] = lambda holders: None
        """Told of a leader that is about to change who votes."""

    def join(self, end: Carrier) -> None:
        self._ends[end.name] = end

    def behave(self) -> None:
        """No more faults from now on."""
        self.rates = Rates()

    def ask(self, source: Carrier, group: GroupId, act: Callable[[Carrier, Reply], None], told: Reply) -> None:
        """Have ``act`` done by whoever may lead ``group``; ``told`` is called at most once, in the source's process,
        unless that dies."""
        pending = [told]

        def once(reply: Any, error: BrokerError | None) -> None:
            if pending:
                pending.pop()(reply, error)

        leader = source.leader_of(group) or self._hints.get(group) or self.chance.choice(sorted(self._ends))
        target = self._ends[leader]
        hinting = self._hinting(group, once)
        copies = 1 + (self.chance.random() < self.rates.request_duplication)
        for copy in range(copies):
            late = self.chance.randrange(3 * SECOND) if copy else 0
            self.world.after(self._delay(source, target) + late, self._arrive, source, target, act, hinting)
        source.work(STEP_TIME, hinting, None, Unavailable("the courier has waited for long enough"))

    def call(self, source: Carrier, name: str, act: Callable[[Carrier, Reply], None], told: Reply) -> None:
        """Have ``act`` done by that node; nothing comes back when it cannot be."""
        target = self._ends[name]
        self.world.after(self._delay(source, target), self._arrive, source, target, act, told)

    def _hinting(self, group: GroupId, told: Reply) -> Reply:
        """Who learns on the way where the leader is tells the others."""

        def tell(reply: Any, error: BrokerError | None) -> None:
            if error is not None:
                self._hints.pop(group, None)
                if isinstance(error, NotLeader) and error.leader is not None:
                    self._hints[group] = error.leader
            told(reply, error)

        return tell

    def _arrive(self, source: Carrier, target: Carrier, act: Callable[[Carrier, Reply], None], told: Reply) -> None:
        if not target.up or not self._passes(source, target):
            return

        def answer(reply: Any, error: BrokerError | None) -> None:
            if self._passes(target, source) and self.chance.random() >= self.rates.reply_loss:
                source.work(self._delay(target, source), told, reply, error)

        act(target, answer)

    def _delay(self, source: Carrier, target: Carrier) -> int:
        return 1 if source is target else self.network.latency()

    def _passes(self, source: Carrier, target: Carrier) -> bool:
        return source is target or self.network.passable(source.name, target.name)


class Couriers:
    """Those of one process: one for each group that it leads."""

    def __init__(self, node: Carrier, roads: Roads) -> None:
        self._node = node
        self._roads = roads
        self._rounds: dict[GroupId, _Round] = {}
        self._contents = Contents(_Log(node))  # type: ignore[arg-type]  # entries are all that is read

    def turned(self, effects: list[tuple[GroupId, Effect]]) -> None:
        """The node has had a turn: it may lead other groups than before, and ``effects`` may be of outboxes."""
        for group in sorted({*self._rounds, *self._node.groups} - {DIRECTORY_GROUP}):
            known, leads = self._rounds.get(group), self._node.leads(group)
            if known is not None and (known.over or not leads):
                known.over = True
                del self._rounds[group]
                known = None
            if leads and known is None:
                self._rounds[group] = _Round(self._node, group, self._roads, self._contents)
                self._rounds[group].tell(Woken())
        for group, effect in effects:
            if effect.key == WAKE_KEY and group in self._rounds:
                self._rounds[group].tell(Woken())


class _Log:
    """Of the node, as Contents reads it."""

    def __init__(self, node: Carrier) -> None:
        self.read_entry = node.entry


class _Round:
    """While the node leads ``group``: does what is decided, and tells what came of it."""

    def __init__(self, node: Carrier, group: GroupId, roads: Roads, contents: Contents) -> None:
        self.over = False
        self._node = node
        self._group = group
        self._roads = roads
        self._carrying = Carrying(QueueParcels(group, self._peek, contents), roads.settings)
        self._alarm: int | None = None
        self._seeking: set[QueueId] = set()

    def tell(self, happened: Input | None) -> None:
        """None: time has passed."""
        if self.over:
            return
        now = self._node.clock.monotonic()
        try:
            self._do(self._carrying.wake(now) if happened is None else self._carrying.handle(happened, now))
        except NotLeader:
            self.over = True

    def _do(self, outputs: list[Output[Any]]) -> None:
        for output in outputs:
            if isinstance(output, Carry):
                self._carry(output)
            elif isinstance(output, Note):
                self._note(output)
            else:
                self._stuck(output)
        deadline = self._carrying.next_deadline()
        if deadline is not None:
            at = max(self._node.clock.world_time_of(deadline), self._roads.world.now)
            if self._alarm is None or at < self._alarm:
                self._alarm = at
                self._node.work(at - self._roads.world.now, self._wake, at)

    def _wake(self, at: int) -> None:
        if self._alarm == at:
            self._alarm = None
            self.tell(None)

    def _carry(self, carry: Carry) -> None:
        data = _encoder.encode(carry.command)
        self._roads.world.note_bytes(data)

        def told(reply: Any, error: BrokerError | None) -> None:
            unanswered = error is not None
            self.tell(Unanswered(carry.target, error) if unanswered else Answered(carry.target, reply.refused))

        self._roads.ask(self._node, carry.target, _proposing(carry.target, data), told)

    def _note(self, note: Note[Any]) -> None:
        returned = tuple((parcel.number, refusal) for parcel, refusal in note.returned)

        def told(reply: Any, error: BrokerError | None) -> None:
            self.tell(Noted() if error is None else Unnoted(error))
            for parcel, refusal in note.returned if error is None else ():
                lost = stale(parcel, refusal)
                if lost is not None and parcel.queue not in self._seeking:
                    self._seeking.add(parcel.queue)
                    self._find_anew(parcel.queue, lost)

        self._propose_here(Shipped(note.accepted, returned), told)

    def _propose_here(self, command: Any, told: Reply) -> None:
        pending = [told]

        def once(reply: Any, error: BrokerError | None) -> None:
            if pending:
                pending.pop()(reply, error)

        act = _proposing(self._group, _encoder.encode(command))
        self._node.work(1, act, self._node, once)
        self._node.work(STEP_TIME, once, None, Unavailable("nothing has come of it for long enough"))

    def _find_anew(self, queue: QueueId, lost: Target) -> None:
        def asking(node: Carrier, told: Reply) -> None:
            question = FindResource("queue", lost.name)
            node.query(DIRECTORY_GROUP, DIRECTORY, question, lambda answer: told(answer.reply, answer.error))

        def told(found: Any, error: BrokerError | None) -> None:
            if found is None:
                self._seeking.discard(queue)
                return
            target = Target(lost.name, QueueId(found.id), found.groups)
            self._propose_here(Retarget(queue, target), lambda *_: self._seeking.discard(queue))

        self._roads.ask(self._node, DIRECTORY_GROUP, asking, told)

    def _stuck(self, stuck: Stuck) -> None:
        raise Violation(
            "what is on its way can be read",
            f"{self._node.name} cannot carry parcel {stuck.number} of group {self._group}: {stuck.error}",
        )

    def _peek(self, question: Any) -> Any:
        if not self._node.leads(self._group):
            raise NotLeader(f"{self._node.name} does not lead group {self._group}")
        return self._node.machine(self._group).peek(question, self._node.time.wall())


def _proposing(group: GroupId, data: bytes) -> Callable[[Carrier, Reply], None]:
    def act(node: Carrier, told: Reply) -> None:
        node.propose(group, QUEUES, data, None, lambda answer: told(answer.reply, answer.error))

    return act

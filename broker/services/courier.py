"""The courier: carries what is in the outboxes of the groups that this node leads to where it belongs.

The one path between groups. It holds no decisions: what goes where and when is decided in ``carrying``, what it is in
``parcels``; here it is done, and what came of it is told back. While a group is not led here, or its outbox is empty,
this costs nothing. Two nodes may carry for a group at once, an old leader and its successor: docs/decisions/0009.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BackupInProgress, BrokerError, NotLeader
from broker.base.ids import GroupId, QueueId
from broker.base.instants import MINUTE, SECOND, Millis
from broker.domain.queues.commands import Arrive, Arrived, Done, Retarget, Shipped
from broker.domain.queues.model import Target
from broker.domain.queues.questions import Parcel
from broker.machine import holding
from broker.machine.outbox import WAKE_KEY
from broker.replication.groups import Groups
from broker.services.carrying import (
    Answered,
    Carry,
    Carrying,
    CarryingSettings,
    Input,
    Note,
    Noted,
    Output,
    Unanswered,
    Unnoted,
    Woken,
)
from broker.services.contents import Contents
from broker.services.locating import Locator, Pause
from broker.services.parcels import QueueParcels, stale
from broker.services.replies import accepted_as
from broker.services.sending import ROOM
from broker.services.targets import Targets
from broker.services.use_cases import UseCase
from broker.telemetry.metrics import Counter, Reading, Registry

_logger = logging.getLogger(__name__)


class CourierSettings(msgspec.Struct, frozen=True):
    """Milliseconds. ``step_time``: what one command or lookup may take; ``longest_wait``: after which an outbox is
    looked at though nothing was told of it."""

    carrying: CarryingSettings = CarryingSettings()
    step_time: Millis = Millis(10 * SECOND)
    longest_wait: Millis = Millis(10 * MINUTE)


class Courier:
    def __init__(
        self,
        groups: Groups,
        locator: Locator,
        targets: Targets,
        contents: Contents,
        pause: Pause,
        settings: CourierSettings,
        registry: Registry,
    ) -> None:
        self._groups = groups
        self._locator = locator
        self._targets = targets
        self._contents = contents
        self._pause = pause
        self._settings = settings
        self._rounds: dict[GroupId, _Round] = {}
        self._carried: dict[GroupId, Counter] = {}
        self._refused: dict[GroupId, Counter] = {}
        self._registry = registry
        self._scope: TaskScope | None = None
        locator.topology.listeners.append(lambda _: self._serve_all())
        self._arriving = UseCase("queues.arrive", Arrive, Arrived, self._arrive_here)
        locator.serve(self._arriving)
        registry.gauges(
            "broker_outbox_oldest_age_seconds",
            "Since when the oldest message on its way to another group is known to the leader.",
            ("group",),
            self._ages,
        )

    def start(self, scope: TaskScope) -> None:
        """Carry for every data group of the cluster, once it is formed, whenever this node leads it, until the scope
        closes. It may get its replica later than now, and there may come to be more groups."""
        self._scope = scope
        self._serve_all()

    def _serve_all(self) -> None:
        if self._scope is None:
            return
        for group in self._locator.topology.answer.data_groups:
            if group not in self._carried:
                self._count(group)
                self._scope.start(self._serve(group, self._scope), name=f"courier of group {group}")

    def _count(self, group: GroupId) -> None:
        labels = {"group": str(group)}
        self._carried[group] = self._registry.counter(
            "broker_courier_carried", "Messages of a group that another one has taken in.", labels
        )
        self._refused[group] = self._registry.counter(
            "broker_courier_refused", "Messages of a group that came back: no other one takes them in.", labels
        )

    async def _serve(self, group: GroupId, scope: TaskScope) -> None:
        while True:
            await self._groups.led(group)
            current = self._rounds[group] = _Round(self, group, scope)
            try:
                while True:
                    current.tell(Woken())
                    await self._groups.woken(group, WAKE_KEY, self._settings.longest_wait)
            except NotLeader as error:
                _logger.debug("courier: %s", error)
            finally:
                current.end()
                del self._rounds[group]

    # --- what a round needs

    def now(self) -> Millis:
        return self._groups.clock.monotonic()

    def carrying(self, group: GroupId) -> Carrying[Parcel]:
        cargo = QueueParcels(group, lambda question: self._groups.peek(group, ROOM, question), self._contents)
        return Carrying(cargo, self._settings.carrying)

    async def pause_until(self, deadline: Millis) -> None:
        await self._pause(Millis(max(0, deadline - self.now())))

    async def carry(self, carry: Carry) -> Answered | Unanswered:
        assert isinstance(carry.command, Arrive)
        try:
            arrived = await self._locator.on_leader(carry.target, self._arriving, carry.command, self._deadline())
        except BrokerError as error:
            level = logging.INFO if error.retryable else logging.ERROR
            _logger.log(
                level, "courier: group %s did not answer group %s: %s", carry.target, carry.command.source, error
            )
            return Unanswered(carry.target, error)
        return Answered(carry.target, arrived.refused)

    async def note(self, group: GroupId, note: Note[Parcel]) -> Noted | Unnoted:
        returned = tuple((parcel.number, refusal) for parcel, refusal in note.returned)
        try:
            self._must_not_be_held(group)
            await self._propose(group, Shipped(note.accepted, returned))
        except BrokerError as error:
            return Unnoted(error)
        self._carried[group].value += len(note.accepted)
        self._refused[group].value += len(note.returned)
        return Noted()

    async def find_anew(self, group: GroupId, queue: QueueId, lost: Target) -> None:
        """A queue that dead letters go to is not where it was. If it exists all the same, the next one finds it."""
        try:
            found = await self._targets.find(lost.name, self._deadline())
            if found is not None and found != lost:
                await self._propose(group, Retarget(queue, found))
        except BrokerError as error:
            _logger.info("courier: queue %s could not be found anew: %s", lost.name, error)

    # --- inside

    async def _propose(self, group: GroupId, command: Shipped | Retarget) -> None:
        accepted_as(Done, await self._groups.propose(group, ROOM, command, self._settings.step_time))

    async def _arrive_here(self, group: GroupId, command: Arrive, deadline: Millis) -> Arrived:
        self._must_not_be_held(group)
        remaining = Millis(deadline - self.now())
        return accepted_as(Arrived, await self._groups.propose(group, ROOM, command, remaining))

    def _must_not_be_held(self, group: GroupId) -> None:
        """The machine would refuse it, too, but only after all of it has been replicated."""
        if self._groups.peek(group, holding.ROOM, None) is not None:
            raise BackupInProgress(
                f"group {group} takes in nothing from other groups while a backup captures the cluster"
            )

    def _deadline(self) -> Millis:
        return Millis(self.now() + self._settings.step_time)

    def _ages(self) -> Reading:
        for group, current in self._rounds.items():
            oldest = current.oldest()
            yield (str(group),), 0 if oldest is None else (self.now() - oldest) / SECOND


class _Round:
    """While this node leads ``group``: does what is decided, and tells what came of it."""

    def __init__(self, courier: Courier, group: GroupId, scope: TaskScope) -> None:
        self._courier = courier
        self._group = group
        self._scope = scope
        self._carrying = courier.carrying(group)
        self._alarm: Millis | None = None
        self._seeking: set[QueueId] = set()
        self._over = False

    def oldest(self) -> Millis | None:
        return self._carrying.oldest()

    def end(self) -> None:
        """What is under way ends by itself, and nothing follows from it."""
        self._over = True

    def tell(self, happened: Input) -> None:
        """Raises NotLeader."""
        self._do(self._carrying.handle(happened, self._courier.now()))

    def _do(self, outputs: list[Output[Parcel]]) -> None:
        for output in outputs:
            if isinstance(output, Carry):
                self._start(self._carry(output), "carry")
            elif isinstance(output, Note):
                self._start(self._note(output), "note")
            else:
                _logger.error("courier: message %s of group %s stays: %s", output.number, self._group, output.error)
        deadline = self._carrying.next_deadline()
        if deadline is not None and (self._alarm is None or deadline < self._alarm):
            self._alarm = deadline
            self._start(self._wake(deadline), "wake")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._scope.start(work, name=f"courier of group {self._group}: {name}")

    async def _carry(self, carry: Carry) -> None:
        self._tell_while_leading(await self._courier.carry(carry))

    async def _note(self, note: Note[Parcel]) -> None:
        noted = await self._courier.note(self._group, note)
        self._tell_while_leading(noted)
        if isinstance(noted, Unnoted):
            return
        for parcel, refusal in note.returned:
            lost = stale(parcel, refusal)
            if lost is not None and parcel.queue not in self._seeking:
                self._seeking.add(parcel.queue)
                self._start(self._find_anew(parcel.queue, lost), "find anew")

    async def _find_anew(self, queue: QueueId, lost: Target) -> None:
        await self._courier.find_anew(self._group, queue, lost)
        self._seeking.discard(queue)

    async def _wake(self, deadline: Millis) -> None:
        await self._courier.pause_until(deadline)
        if self._alarm == deadline:
            self._alarm = None
            self._tell_while_leading(None)

    def _tell_while_leading(self, happened: Input | None) -> None:
        """None: time has passed. Whoever waits for the outbox is told of the end of the leadership, and begins anew."""
        if self._over:
            return
        try:
            if happened is None:
                self._do(self._carrying.wake(self._courier.now()))
            else:
                self.tell(happened)
        except NotLeader:
            self.end()

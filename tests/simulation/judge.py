"""Which checker judges which command of the queues: before the picture follows it, so that each sees what was.

One judge for all groups: what leaves one of them arrives in another.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from broker.base.instants import WallMillis
from broker.domain.queues import commands, questions
from broker.domain.queues.model import Counts
from broker.machine.contract import Effect
from tests.simulation.checkers.counts import ExactCounts
from tests.simulation.checkers.deduplication import NoSecondEnqueue
from tests.simulation.checkers.deliveries import NoDoubleDelivery, OneValidHandle
from tests.simulation.checkers.departures import Departures
from tests.simulation.checkers.exchanges import BothOrNeither
from tests.simulation.checkers.fairness import QuietTenantsFirst
from tests.simulation.checkers.group_order import GroupOrder, OneOpenDelivery
from tests.simulation.checkers.journeys import NothingLostOnTheWay
from tests.simulation.checkers.model_queue import ModelQueue
from tests.simulation.checkers.places import Availability, OnePlace
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.receive_attempts import RepeatedAttempts
from tests.simulation.checkers.schedules import Cancellations
from tests.simulation.checkers.waking import NobodyWaitsInVain


class Judge:
    """``reached`` counts what happened that is worth reaching."""

    def __init__(self, reached: Counter[str]) -> None:
        self.counts = ExactCounts()
        self.places = OnePlace()
        self.journeys = NothingLostOnTheWay()
        self._reached = reached
        self._deliveries = NoDoubleDelivery()
        self._handles = OneValidHandle()
        self._order = GroupOrder()
        self._open = OneOpenDelivery()
        self._deduplication = NoSecondEnqueue()
        self._attempts = RepeatedAttempts()
        self._departures = Departures()
        self._fairness = QuietTenantsFirst()
        self._cancellations = Cancellations()
        self._exchanges = BothOrNeither()
        self._availability = Availability()
        self._waking = NobodyWaitsInVain()
        self._models: dict[int, QueueModel] = {}

    @property
    def models(self) -> list[QueueModel]:
        return list(self._models.values())

    def model(self, group: int) -> QueueModel:
        model = self._models.get(group)
        if model is None:
            model = self._models[group] = QueueModel(group)
        return model

    # --- what was applied

    def passed(self, group: int, now: int) -> None:
        """Time has passed, before whatever was applied."""
        self._reached["message expired"] += self.model(group).pass_time(now)

    def applied(
        self, group: int, command: Any, reply: Any, parcels: tuple[questions.Parcel, ...], index: int, now: int
    ) -> None:
        """For the first time. ``command`` None: nothing but time. ``parcels`` are new in the outbox: when
        time passed, as dead letters of a receive, or because a move task took them afterwards."""
        model = self.model(group)
        afterwards = (
            parcels if type(command) is commands.StartMove else self._leave_before(model, parcels, command, now)
        )
        if command is not None:
            self._judge(model, command, reply, index, now)
            model.follow(command, reply, index, now)
        for parcel in afterwards:
            self._leave(model, parcel, command, now)

    def emitted(self, group: int, effects: tuple[Effect, ...], index: int, now: int) -> None:
        """What became of entry ``index``, after it was applied."""
        self._waking.applied(self.model(group), effects, index, now)

    def _leave_before(
        self, model: QueueModel, parcels: tuple[questions.Parcel, ...], command: Any, now: int
    ) -> tuple[questions.Parcel, ...]:
        """Let those leave that could before the command; which ones could not?"""
        for place, parcel in enumerate(parcels):
            if not self._departures.could_leave(model, parcel, command, now):
                return parcels[place:]
            self._leave(model, parcel, command, now)
        return ()

    def _leave(self, model: QueueModel, parcel: questions.Parcel, command: Any, now: int) -> None:
        task = self._departures.left(model, parcel, command, now)
        held = model.queues[parcel.queue].messages[parcel.index, parcel.slot]
        self.journeys.departed(model.group, parcel, held, dead=not task)
        model.depart(parcel, task)

    def _judge(self, model: QueueModel, command: Any, reply: Any, index: int, now: int) -> None:
        match command:
            case commands.Receive() if type(reply) is commands.Deliveries:
                self._received(model.queues[command.queue], command, reply, index, now)
            case commands.Send() if type(reply) is commands.Sent:
                self._sent(model, command, reply, index, now)
            case commands.Exchange():
                self._exchanges.exchanged(model, command, reply, index)
                if type(reply) is commands.Sent:
                    self._reached["exchange"] += 1
                    self._sent(model, command.send, reply, index, now)
            case commands.Delete() | commands.ChangeVisibility() if type(reply) is commands.Results:
                self._handles.handled(model, command, reply, index, now)
            case commands.Cancel() if type(reply) is commands.Results:
                cancelled = self._cancellations.cancelled(model.queues[command.queue], command, reply, index, now)
                self._reached["schedule cancelled"] += cancelled
            case commands.Arrive():
                self.journeys.brought(model.group, index, command.messages)
                self._reached["arrival repeated"] += self.journeys.came(model, command, reply, index)
                self._reached["parcel refused"] += len(reply.refused)
            case commands.Shipped():
                self._shipped(model, command)
            case commands.Retarget():
                self._reached["dead-letter queue found anew"] += 1

    def _sent(self, model: QueueModel, command: commands.Send, reply: commands.Sent, index: int, now: int) -> None:
        self.journeys.brought(model.group, index, command.messages)
        self._deduplication.sent(model.queues[command.queue], command, reply, index, now)
        self._reached["duplicate send"] += len(reply.duplicates)

    def _received(
        self, queue: ModelQueue, command: commands.Receive, reply: commands.Deliveries, index: int, now: int
    ) -> None:
        if self._attempts.received(queue, command, reply, index, now):
            self._reached["receive attempt repeated"] += 1
            return
        self._departures.remaining(queue, command, reply, now)
        if queue.is_fifo:
            self._reached["group blocked"] += self._open.received(queue, reply, index, now)
        self._deliveries.received(queue, command, reply, index, now)
        if queue.is_fifo:
            self._order.received(queue, reply, index)
        else:
            self._reached["noisy group waited"] += self._fairness.received(queue, reply, index, now)

    def _shipped(self, model: QueueModel, command: commands.Shipped) -> None:
        self.journeys.shipped(model, command)
        for number in command.accepted:
            journey = self.journeys.journey(model.group, number)
            if number in model.outbox and journey is not None:
                home = journey.parcel.destination is None
                what = "dead letter carried" if journey.dead else "message moved home" if home else "message moved"
                self._reached[what] += 1

    # --- what was answered

    def answered(self, group: int, question: Any, answer: Any, now: int, at: WallMillis, node: str) -> None:
        """By a machine that had applied exactly what the picture has followed; ``at``: when it was asked."""
        model = self.model(group)
        queue = model.queues.get(getattr(question, "queue", -1))
        if queue is None:
            return
        match question:
            case questions.CountsOf():
                self.counts.counted(queue, question, answer, now, node)
            case questions.Browse():
                self.places.seen(queue, question, answer, now)
            case questions.KnowsAttempt() if at <= now:
                self._attempts.told(queue, question, answer, now)
            case questions.HasVisible():
                self._availability.told(model, question, answer, now, at)

    def told(self, question: Any, answer: Any, node: str) -> None:
        """By any machine that may answer strong reads."""
        if type(answer) is Counts:
            self.places.counted(answer, str(question.queue), node)
        elif type(question) is questions.MovesOf and isinstance(answer, tuple):
            for move in answer:
                self._reached[f"move task {move.status}"] += 1

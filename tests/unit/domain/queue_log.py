"""A queue machine with a log of its own: tests say what happens and when, and read what comes back."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.ids import GroupId, Index, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import MAX_IN_FLIGHT
from broker.domain.queues import commands, questions
from broker.domain.queues.commands import Deliveries, Delivery, Results
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.model import Counts, Handle, QueueAttributes, Target
from broker.domain.queues.questions import Leaving, Parcel
from broker.machine.contract import Effect, Place

QUEUE = QueueId(7)
GROUP = GroupId(1)
START = 1_700_000_000_000
CONTENT = msgspec.Raw(msgspec.msgpack.encode([]))


class QueueLog:
    """``at``: milliseconds since the log began."""

    def __init__(
        self,
        attributes: QueueAttributes | None = None,
        in_flight_limit: int = MAX_IN_FLIGHT,
        name: str = "orders",
        target: Target | None = None,
    ) -> None:
        self.machine = QueueMachine(in_flight_limit)
        self.at = 0
        self.index = 0
        self.effects: tuple[Effect, ...] = ()
        self.apply(commands.CreateQueue(QUEUE, name, attributes or QueueAttributes(), (GROUP,), target))

    def apply(self, command: commands.Command) -> Any:
        self.index += 1
        place = Place(Index(self.index), WallMillis(START + self.at))
        applied = self.machine.apply(msgspec.msgpack.encode(command), place)
        self.effects = applied.effects
        return applied.reply

    def send(self, count: int = 1, delays: tuple[int, ...] | None = None, largest: int = 1) -> Any:
        return self.apply(commands.Send(QUEUE, count, largest, delays, CONTENT))

    def send_to_groups(self, groups: str, identities: str | None = None) -> Any:
        """One message for each letter: its message group, and in ``identities`` its deduplication id."""
        deduplication = None if identities is None else tuple(identities)
        command = commands.Send(QUEUE, len(groups), 1, None, CONTENT, tuple(groups), deduplication)
        return self.apply(command)

    def deliver(self, maximum: int = 10, timeout: int | None = None, attempt: str = "") -> tuple[Delivery, ...]:
        """What a receive is given."""
        reply = self.apply(commands.Receive(QUEUE, maximum, None if timeout is None else Millis(timeout), attempt))
        assert isinstance(reply, Deliveries)
        return reply.deliveries

    def query(self, question: Any) -> Any:
        return self.machine.query(question, WallMillis(START + self.at))

    def leaving(self) -> tuple[Parcel, ...]:
        """What is in the outbox."""
        parcels = self.query(Leaving())
        assert isinstance(parcels, tuple)
        return parcels

    def reload(self) -> None:
        """Go on with what a dump of the machine is loaded to."""
        pieces = list(self.machine.dump())
        self.machine = QueueMachine()
        self.machine.load(pieces)
        assert list(self.machine.dump()) == pieces

    def receive(self, maximum: int = 10, timeout: int | None = None) -> list[Handle]:
        """The handles of what was delivered."""
        reply = self.apply(commands.Receive(QUEUE, maximum, None if timeout is None else Millis(timeout)))
        assert isinstance(reply, Deliveries)
        return [Handle(each.index, each.slot, each.receipt) for each in reply.deliveries]

    def delete(self, *handles: Handle) -> dict[int, str]:
        """Codes of refusals by position."""
        return codes(self.apply(commands.Delete(QUEUE, handles)))

    def change_visibility(self, handles: list[Handle], *timeouts: int) -> dict[int, str]:
        return codes(self.apply(commands.ChangeVisibility(QUEUE, tuple(handles), tuple(map(Millis, timeouts)))))

    def counts(self) -> Counts:
        counts = self.machine.query(questions.CountsOf(QUEUE), WallMillis(START + self.at))
        assert isinstance(counts, Counts)
        return counts

    def has_visible(self) -> bool:
        answer = self.machine.query(questions.HasVisible(QUEUE), WallMillis(START + self.at))
        assert isinstance(answer, bool)
        return answer

    def where(self) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        counts = self.counts()
        return counts.visible, counts.in_flight, counts.delayed


def handle_of(delivery: Delivery) -> Handle:
    return Handle(delivery.index, delivery.slot, delivery.receipt)


def places(deliveries: tuple[Delivery, ...]) -> list[tuple[str, int, int]]:
    """Message group, index and slot of each."""
    return [(each.group, each.index, each.slot) for each in deliveries]


def codes(results: Any) -> dict[int, str]:
    assert isinstance(results, Results)
    return {position: refusal.code for position, refusal in results.refused}


def refusal_of(reply: Any) -> str:
    assert isinstance(reply, commands.Refused)
    return reply.refusal.code

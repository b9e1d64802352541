"""A queue machine with a log of its own: tests say what happens and when, and read what comes back."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.ids import Index, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import MAX_IN_FLIGHT
from broker.domain.queues import commands, questions
from broker.domain.queues.commands import Deliveries, Results
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.model import Counts, Handle, QueueAttributes
from broker.machine.contract import Effect, Place

QUEUE = QueueId(7)
START = 1_700_000_000_000
CONTENT = msgspec.Raw(msgspec.msgpack.encode([]))


class QueueLog:
    """``at``: milliseconds since the log began."""

    def __init__(self, attributes: QueueAttributes | None = None, in_flight_limit: int = MAX_IN_FLIGHT) -> None:
        self.machine = QueueMachine(in_flight_limit)
        self.at = 0
        self.index = 0
        self.effects: tuple[Effect, ...] = ()
        self.apply(commands.CreateQueue(QUEUE, "orders", attributes or QueueAttributes()))

    def apply(self, command: commands.Command) -> Any:
        self.index += 1
        place = Place(Index(self.index), WallMillis(START + self.at))
        applied = self.machine.apply(msgspec.msgpack.encode(command), place)
        self.effects = applied.effects
        return applied.reply

    def send(self, count: int = 1, delays: tuple[int, ...] | None = None, largest: int = 1) -> Any:
        return self.apply(commands.Send(QUEUE, count, largest, delays, CONTENT))

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


def codes(results: Any) -> dict[int, str]:
    assert isinstance(results, Results)
    return {position: refusal.code for position, refusal in results.refused}


def refusal_of(reply: Any) -> str:
    assert isinstance(reply, commands.Refused)
    return reply.refusal.code

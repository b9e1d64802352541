"""Counts are exact: what a queue says of itself is what the naive picture says."""

from __future__ import annotations

from broker.domain.queues import questions
from broker.domain.queues.model import Counts
from tests.simulation.checkers.model_queue import ModelQueue
from tests.simulation.checkers.violation import Violation


class ExactCounts:
    name = "counts are exact"

    def __init__(self) -> None:
        self.compared = 0

    def counted(self, queue: ModelQueue, question: questions.CountsOf, answer: object, now: int, node: str) -> None:
        """The answering machine had applied exactly what the picture has followed."""
        if type(answer) is not Counts:
            raise Violation(self.name, f"{node} was asked for the counts of {queue.name} and said {answer}")
        self.compared += 1
        visible, in_flight = len(queue.visible(now)), len(queue.in_flight(now))
        leaving = {departed.held.group for departed in queue.leaving.values() if not departed.forgotten}
        expected = Counts(
            visible=visible,
            in_flight=in_flight,
            delayed=len(queue.messages) - visible - in_flight,
            oldest_sent_at=min((held.sent_at for held in queue.messages.values()), default=None),
            sent_total=queue.sent,
            received_total=queue.received,
            deleted_total=queue.deleted,
            expired_total=queue.expired,
            moving=len(queue.leaving),
            moved_total=queue.moved,
            arrived_total=queue.arrived,
            duplicates_total=queue.duplicates,
            message_groups=len(({held.group for held in queue.messages.values()} | leaving) - {""}),
        )
        if answer != expected:
            raise Violation(self.name, f"{node} counts {queue.name} at {now} as {answer}; they are {expected}")

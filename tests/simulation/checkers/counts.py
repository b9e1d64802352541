"""Counts are exact: what a queue says of itself is what the naive picture says."""

from __future__ import annotations

from broker.domain.queues import questions
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation


class ExactCounts:
    name = "counts are exact"

    def __init__(self) -> None:
        self.compared = 0

    def counted(self, model: QueueModel, question: questions.CountsOf, answer: object, now: int, node: str) -> None:
        """The answering machine had applied exactly what the model has followed."""
        queue = model.queues.get(question.queue)
        if queue is None or type(answer) is not model.Counts:
            if queue is not None:
                raise Violation(self.name, f"{node} was asked for the counts of {queue.name} and said {answer}")
            return
        self.compared += 1
        visible = queue.visible(now)
        in_flight = sum(1 for held in queue.messages.values() if held.visible_at > now and held.receipt)
        expected = model.Counts(
            visible=visible,
            in_flight=in_flight,
            delayed=len(queue.messages) - visible - in_flight,
            oldest_sent_at=min((held.sent_at for held in queue.messages.values()), default=None),
            sent_total=queue.sent,
            received_total=queue.received,
            deleted_total=queue.deleted,
            expired_total=0,
        )
        if answer != expected:
            raise Violation(self.name, f"{node} counts {queue.name} at {now} as {answer}; they are {expected}")

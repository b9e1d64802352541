"""Every message is in exactly one place: waiting, in flight, delayed, deleted, expired or moved."""

from __future__ import annotations

from broker.domain.queues import questions
from broker.domain.queues.model import Counts
from tests.simulation.checkers.model_queue import ModelQueue
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation


class OnePlace:
    name = "a message is in one place"

    def __init__(self) -> None:
        self.browsed = 0

    def counted(self, counts: Counts, queue: str, node: str) -> None:
        came = counts.sent_total + counts.arrived_total
        here = counts.visible + counts.in_flight + counts.delayed
        gone = counts.deleted_total + counts.expired_total + counts.moved_total
        if came != here + gone:
            raise Violation(self.name, f"{node} says of {queue}: {came} came, {here} are here, {gone} gone: {counts}")

    def seen(self, queue: ModelQueue, question: questions.Browse, page: questions.BrowsePage, now: int) -> None:
        """The answering machine had applied exactly what the picture has followed."""
        self.browsed += 1
        waiting = sorted(
            held.key
            for held in queue.messages.values()
            if held.state(now) in question.states and held.key > _unpacked(question.after)
        )
        told = [(each.index, each.slot) for each in page.messages]
        if told != waiting[: question.limit] or page.more != (len(waiting) > question.limit):
            raise Violation(
                self.name,
                f"browsing {queue.name} at {now} from {question.after} in {question.states} showed {told} (more: "
                f"{page.more}); there are {waiting}",
            )
        for each in page.messages:
            held = queue.messages[each.index, each.slot]
            until = 0 if held.state(now) == "visible" else held.visible_at
            expected = (held.state(now), held.sent_at, until, held.receive_count, held.first_received_at, held.group)
            facts = (
                each.state,
                each.sent_at,
                each.until,
                each.receive_count,
                each.first_received_at,
                each.group,
            )
            if facts != expected:
                raise Violation(
                    "what is browsed is true",
                    f"message {held.key} of {queue.name} at {now} was shown as {facts} and is {expected}",
                )


class Availability:
    """Who waits for messages is not kept waiting while there are some, nor woken for nothing."""

    name = "a queue knows whether a receive would find anything"

    def told(self, model: QueueModel, question: questions.HasVisible, answer: object, now: int, at: int) -> None:
        """``now``: of the machine; ``at``: when it was asked, perhaps later."""
        queue = model.queues.get(question.queue)
        if queue is None:
            return
        later = max(now, at)
        alive = [held for held in (*queue.offered(later), *queue.doomed(later)) if queue.end_of_life(held) > later]
        if alive and answer is False:
            raise Violation(self.name, f"{queue.name} at {later} said no, but there is {alive[0]}")
        if answer is True and later == now and not queue.offered(now) and not queue.doomed(now):
            raise Violation(self.name, f"{queue.name} at {now} said yes, but there is nothing to hand out")


def _unpacked(key: int) -> tuple[int, int]:
    return (key >> 16, key & 0xFFFF) if key >= 0 else (-1, 0)

"""A receive that is asked for again under its attempt id is answered again, with the same messages."""

from __future__ import annotations

import msgspec

from broker.base.limits import DEDUPLICATION_INTERVAL
from broker.domain.queues import commands, questions
from tests.simulation.checkers.model_queue import Key, ModelQueue
from tests.simulation.checkers.violation import Violation


class _Attempt(msgspec.Struct):
    at: int
    receipt: int
    until: int
    keys: list[Key]


class RepeatedAttempts:
    """Within five minutes of machine time, and as long as the attempt holds all that it was handed and nobody has
    changed for how long."""

    name = "a receive attempt is answered again with the same messages"

    def __init__(self) -> None:
        self._attempts: dict[tuple[tuple[int, int], str], _Attempt] = {}

    def received(
        self, queue: ModelQueue, command: commands.Receive, reply: commands.Deliveries, index: int, now: int
    ) -> bool:
        """Whether the reply repeats an earlier one."""
        attempt = self._attempts.get((queue.identity, command.attempt)) if command.attempt else None
        told = [(each.index, each.slot, each.receipt) for each in reply.deliveries]
        if attempt is not None and command.visibility_timeout != 0 and self._holds(queue, attempt, now):
            expected = [(*key, attempt.receipt) for key in attempt.keys]
            if told != expected:
                raise Violation(
                    self.name,
                    f"entry {index} repeated attempt {command.attempt} at {queue.name}, which holds {expected} until "
                    f"{attempt.until}; at {now} it got {told}",
                )
            attempt.until = reply.until
            return True
        again = [each for each in told if each[2] != index]
        if again:
            raise Violation(
                self.name,
                f"entry {index} got {again} of {queue.name} once more at {now} for attempt {command.attempt!r}, which "
                f"does not hold them any more: {attempt}",
            )
        if command.attempt and told:
            keys = [(each.index, each.slot) for each in reply.deliveries]
            self._attempts[queue.identity, command.attempt] = _Attempt(now, index, reply.until, keys)
        return False

    def told(self, queue: ModelQueue, question: questions.KnowsAttempt, answer: object, now: int) -> None:
        attempt = self._attempts.get((queue.identity, question.attempt))
        holds = attempt is not None and self._holds(queue, attempt, now)
        if answer is not holds:
            raise Violation(
                self.name,
                f"{queue.name} was asked at {now} whether it would repeat attempt {question.attempt} and said "
                f"{answer}; what it handed out then: {attempt}",
            )

    def _holds(self, queue: ModelQueue, attempt: _Attempt, now: int) -> bool:
        if now - attempt.at >= DEDUPLICATION_INTERVAL:
            return False
        held = [queue.messages.get(key) for key in attempt.keys]
        return attempt.until > now and all(
            each is not None and each.receipt == attempt.receipt and each.visible_at == attempt.until for each in held
        )

"""One move task of a dead-letter queue: how far it is, and when it may go on.

It takes what is visible, the oldest first, at a rate or as fast as the far side takes it in, and ends when nothing
visible is left and everything it took has arrived. Amazon SQS API Reference, StartMessageMoveTask. Knows nothing of
messages.
"""

from __future__ import annotations

from broker.base.instants import SECOND
from broker.base.limits import MAX_MOVING
from broker.domain.queues.model import Target
from broker.domain.queues.questions import CANCELLED, COMPLETED, FAILED, RUNNING, Move


class MoveTask:
    """``task``: log index of the command that started it. ``destination`` None: each to where it came from."""

    __slots__ = (
        "destination",
        "failure",
        "label",
        "moved",
        "outstanding",
        "rate",
        "started_at",
        "status",
        "taken",
        "task",
        "to_move",
    )

    def __init__(self, task: int, destination: Target | None, rate: int, to_move: int, at: int, label: str) -> None:
        self.task = task
        self.destination = destination
        self.rate = rate
        self.to_move = to_move
        self.started_at = at
        self.label = label
        self.status = RUNNING
        self.failure = ""
        self.taken = 0
        self.outstanding = 0
        """Taken, and not yet answered for."""
        self.moved = 0

    @property
    def running(self) -> bool:
        return self.status == RUNNING

    def may_take(self, at: int) -> int:
        """How many messages it may take now."""
        room = MAX_MOVING - self.outstanding
        if self.rate:
            room = min(room, self.rate * (at - self.started_at) // SECOND + 1 - self.taken)
        return max(0, room)

    def next_due(self) -> int | None:
        """When it may take the next message; None: not before something has been answered for, or never."""
        if not self.running or not self.rate or self.outstanding >= MAX_MOVING:
            return None
        return self.started_at + -(-self.taken * SECOND // self.rate)

    def took(self, count: int) -> None:
        self.taken += count
        self.outstanding += count

    def arrived(self) -> None:
        """One of its messages is where it should be."""
        self.outstanding -= 1
        self.moved += 1

    def refused(self, why: str) -> None:
        """One of its messages is back. The first refusal ends the task."""
        self.outstanding -= 1
        if self.running:
            self.status, self.failure = FAILED, why

    def cancel(self) -> None:
        self.status = CANCELLED

    def found_nothing(self) -> None:
        """Nothing is left to take."""
        if self.running and not self.outstanding:
            self.status = COMPLETED

    def listed(self) -> Move:
        return Move(
            self.task,
            self.status,
            "" if self.destination is None else self.destination.name,
            self.rate,
            self.moved,
            self.to_move,
            self.started_at,  # type: ignore[arg-type]  # an instant
            self.failure,
            self.label,
        )

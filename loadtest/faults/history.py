"""What the clients of a cell did and were told, in the order in which it happened to them. Pure but for its clock.

Instants are seconds since the history began. A message is known by its key: who sent it, and its number there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from broker.base.errors import BrokerError

Key = tuple[int, int]
"""(sender, number)."""


class Stored(NamedTuple):
    """An acknowledged send. ``number``: the sequence number in a FIFO queue, else None."""

    key: Key
    id: str
    number: int | None
    at: float


class Delivery(NamedTuple):
    """One message of one receive call, ``call``, that was made at ``asked`` and answered at ``at``."""

    key: Key
    group: str
    id: str
    number: int | None
    call: int
    asked: float
    at: float


class Mark(NamedTuple):
    what: str
    at: float


class History:
    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: seconds that never go back."""
        self._clock = clock
        self._began = clock()
        self._calls = 0
        self.sent: dict[Key, float] = {}
        """When each was handed over."""
        self.stored: list[Stored] = []
        self.unsure: set[Key] = set()
        """Their senders were told that nobody knows whether they are stored."""
        self.refused: set[Key] = set()
        """Their senders were told that they are not stored."""
        self.deliveries: list[Delivery] = []
        self.asked_to_delete: dict[Key, float] = {}
        """When it was first asked."""
        self.deleted: dict[Key, float] = {}
        """When it was confirmed."""
        self.given_back: list[tuple[Key, float]] = []
        """When it was asked to be shown again."""
        self.answers: dict[str, list[float]] = {}
        """When each of those was heard that are asked all the time, where nothing is sent all the time."""
        self.errors: Counter[str] = Counter()
        """"operation: code" -> how often a caller was told so."""
        self.changed: list[Key] = []
        """Came back with another body than they were sent with."""
        self.marks: list[Mark] = []
        self.outstanding: set[Key] = set()
        """Stored and not confirmed as deleted."""

    def now(self) -> float:
        return self._clock() - self._began

    def mark(self, what: str) -> None:
        self.marks.append(Mark(what, self.now()))

    def sending(self, keys: Iterable[Key]) -> None:
        now = self.now()
        self.sent.update((key, now) for key in keys)

    def acknowledged(self, key: Key, identity: str, number: int | None = None) -> None:
        self.stored.append(Stored(key, identity, number, self.now()))
        if key not in self.deleted:
            self.outstanding.add(key)

    def not_acknowledged(self, key: Key, error: BrokerError) -> None:
        self.failed("send", error)
        (self.unsure if error.retryable else self.refused).add(key)

    def failed(self, operation: str, error: BrokerError) -> None:
        self.errors[f"{operation}: {error.code}"] += 1

    def received(self, asked: float, messages: list[tuple[Key, str, str, int | None]]) -> None:
        """One call's: key, message group, id, sequence number of each."""
        self._calls += 1
        at = self.now()
        for key, group, identity, number in messages:
            self.deliveries.append(Delivery(key, group, identity, number, self._calls, asked, at))

    def deleting(self, key: Key) -> None:
        self.asked_to_delete.setdefault(key, self.now())

    def was_deleted(self, key: Key) -> None:
        self.deleted.setdefault(key, self.now())
        self.outstanding.discard(key)

    def giving_back(self, key: Key) -> None:
        self.given_back.append((key, self.now()))

    def answered(self, who: str) -> None:
        self.answers.setdefault(who, []).append(self.now())

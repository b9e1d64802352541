"""A group's real machine on one node, whose every step and every answer the court sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.machine.contract import Applied
from broker.machine.replicated import ReplicatedMachine
from tests.simulation.court import DIRECTORY, QUEUES, Court

_DUMP_EVERY = 64
"""Machines are compared byte by byte at multiples of this index, and wherever a snapshot is made or loaded."""


class ObservedMachine:
    """``terms`` tells the term of an entry and that of the replica."""

    def __init__(
        self,
        court: Court,
        node: str,
        group: int,
        machine: ReplicatedMachine,
        terms: Callable[[int], tuple[int, int]],
    ) -> None:
        self._court = court
        self._terms = terms
        self._node = node
        self._group = group
        self._machine = machine
        self.applied = 0

    def apply(self, data: bytes, index: Index) -> Applied:
        applied = self._machine.apply(data, index)
        self.applied = index
        if self._court.applied(self._node, self._group, index, data, applied, self._ask):
            term, known_in = self._terms(index)
            self._court.completeness.applied(self._group, index, term, known_in)
        if index % _DUMP_EVERY == 0:
            self.compare()
        return applied

    def compare(self) -> None:
        self._court.machines.dumped(self._node, self._group, self.applied, b"".join(self._machine.dump()))

    def query(self, room: str, question: Any, at: WallMillis) -> Any:
        answer = self._machine.query(room, question, at)
        if room == QUEUES:
            self._court.answered(self._node, self._group, self.applied, question, answer, at)
        return answer

    def ask_directory(self, question: Any) -> Any:
        """For those who look from outside."""
        return self._machine.query(DIRECTORY, question, WallMillis(0))

    def peek(self, question: Any, at: WallMillis) -> Any:
        """What the machine of a leader says, without asking whether it still leads."""
        return self._machine.query(QUEUES, question, at)

    def next_deadline(self) -> WallMillis | None:
        return self._machine.next_deadline()

    def dump(self) -> Iterator[bytes]:
        self.compare()
        return self._machine.dump()

    def load(self, pieces: Iterable[bytes]) -> None:
        self._machine.load(pieces)
        self.applied = self._machine.applied_index
        self.compare()

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return self._machine.live_entries()

    def replay(self, session: bytes, after: int) -> list[tuple[int, Any]]:
        return self._machine.replay(session, after)

    def _ask(self, question: Any) -> Any:
        return self._machine.query(QUEUES, question, WallMillis(0))

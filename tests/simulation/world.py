"""Virtual time, chance and the trace: what makes a run a pure function of its seed.

Time is microseconds since the run began. Every concern draws from a stream of chance of its own, so that a change in
one (one more message on the network) does not reshuffle the others. All that happens is folded into a running hash: two
runs of one seed must end with the same one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from tests.simulation.checkers.violation import Violation

MICROSECOND = 1
MILLISECOND = 1_000
SECOND = 1_000_000

Act = Callable[..., None]

_MANY = 20_000
_SOON = 300 * MILLISECOND
"""So many events in so short a time are no work any more: something asks to be woken again and again."""


class World:
    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.now = 0
        self.counts: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        """What is being done now, by name: calls of clients, transfers, ..."""
        self.met: Counter[tuple[str, str]] = Counter()
        """How often a fault found something under way."""
        self.states: Callable[[], Iterable[str]] = tuple
        """What else there is to be hit: asked when a fault happens."""
        self._tell = tell
        self._events: list[tuple[int, int, Act, tuple[Any, ...]]] = []
        self._sequence = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._chances: dict[str, Random] = {}

    @property
    def traced(self) -> bool:
        """Whether somebody reads the trace: only then is it worth decoding frames for it."""
        return self._tell is not None

    def chance(self, concern: str) -> Random:
        stream = self._chances.get(concern)
        if stream is None:
            stream = self._chances[concern] = Random(f"{self.seed}/{concern}")
        return stream

    def at(self, time: int, act: Act, *arguments: Any) -> None:
        """Events of one instant happen in the order in which they were asked for."""
        self._sequence += 1
        heapq.heappush(self._events, (max(time, self.now), self._sequence, act, arguments))

    def after(self, delay: int, act: Act, *arguments: Any) -> None:
        self.at(self.now + delay, act, *arguments)

    def run_until(self, end: int) -> None:
        """Let everything happen that happens up to ``end``. Raises Violation when it never comes to that."""
        events = self._events
        begun, count = self.now, 0
        while events and events[0][0] <= end:
            time, _, act, arguments = heapq.heappop(events)
            self.now = time
            act(*arguments)
            count += 1
            if count == _MANY:
                if self.now - begun < _SOON:
                    raise Violation("nothing spins", f"{count} events in {self.now - begun} us; the last is {act}")
                begun, count = self.now, 0
        self.now = end

    def hit(self, fault: str) -> None:
        """A fault happens now, to whatever is under way."""
        self.counts[f"fault: {fault}"] += 1
        for what, times in self.under_way.items():
            self.met[fault, what] += times
        for state in self.states():
            self.met[fault, state] += 1

    def note(self, *words: object) -> None:
        """Something worth telling happened."""
        line = " ".join(map(str, words))
        self._hash.update(b"%d %s\n" % (self.now, line.encode()))
        self.tell(line)

    def tell(self, *words: object) -> None:
        """Something that follows from what was noted: worth reading, not worth hashing."""
        if self._tell is not None:
            self._tell(f"{self.now / SECOND:12.6f}  {' '.join(map(str, words))}")

    def note_bytes(self, data: bytes) -> None:
        """Fold bytes into the hash without telling anybody."""
        self._hash.update(b"%d " % self.now)
        self._hash.update(data)

    def trace_hash(self) -> str:
        return self._hash.hexdigest()

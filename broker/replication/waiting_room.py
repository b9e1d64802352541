"""Long polling in one place: who waits for what, served first come first served. Knows tokens, not futures.

Empty polls never touch the log: a receive that would find nothing waits here until its key is woken.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.replication.timeouts import Timeouts

Key = tuple[GroupId, tuple[str, int]]


class WaitingRoom:
    def __init__(self) -> None:
        self._waiting: dict[Key, OrderedDict[int, None]] = {}
        self._key_of: dict[int, Key] = {}
        self._timeouts = Timeouts()

    def __len__(self) -> int:
        return len(self._key_of)

    def wait(self, key: Key, token: int, deadline: Millis) -> None:
        self._waiting.setdefault(key, OrderedDict())[token] = None
        self._key_of[token] = key
        self._timeouts.add(token, deadline)

    def leave(self, token: int) -> None:
        """The waiter is gone (cancelled); nothing if it is not here."""
        key = self._key_of.pop(token, None)
        if key is not None:
            line = self._waiting[key]
            del line[token]
            if not line:
                del self._waiting[key]

    def woken(self, key: Key, count: int) -> list[int]:
        """The first ``count`` waiters of ``key``, who leave."""
        line = self._waiting.get(key)
        if line is None:
            return []
        tokens = list(islice(line, count))
        for token in tokens:
            self.leave(token)
        return tokens

    def close_group(self, group: GroupId) -> list[int]:
        """All waiters of a group whose leadership ended; they leave."""
        tokens = [token for key, line in self._waiting.items() if key[0] == group for token in line]
        for token in tokens:
            self.leave(token)
        return tokens

    def next_deadline(self) -> Millis | None:
        return self._timeouts.next_deadline()

    def wake(self, now: Millis) -> list[int]:
        """Waiters whose time is up, who leave."""
        due = [token for token in self._timeouts.wake(now) if token in self._key_of]
        for token in due:
            self.leave(token)
        return due

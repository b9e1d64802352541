"""Which messages were sent within the last five minutes, by deduplication id: what makes a second send ineffective.

Also by receive-attempt id, which receives. An id is kept as a digest of 16 bytes: ids are up to 128 characters, and a
busy queue remembers hundreds of thousands. Amazon SQS Developer Guide, "Exactly-once processing in Amazon SQS";
API Reference, ReceiveMessage (ReceiveRequestAttemptId).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from hashlib import blake2b

from broker.base.limits import DEDUPLICATION_INTERVAL

DIGEST_SIZE = 16


def digest(scope: str, identity: str) -> bytes:
    """``scope``: the message group, or "" for the whole queue."""
    return blake2b(f"{scope}\0{identity}".encode(), digest_size=DIGEST_SIZE).digest()


class Deduplication:
    """Instants and keys by digest, oldest first."""

    __slots__ = ("_entries", "_keys")

    def __init__(self, entries: Iterable[tuple[bytes, int, int]] = ()) -> None:
        self._keys: dict[bytes, int] = {}
        self._entries: deque[tuple[bytes, int]] = deque()
        for identity, at, key in entries:
            self.remember(identity, at, key)

    def forget(self, at: int) -> None:
        """What was sent DEDUPLICATION_INTERVAL before ``at`` or earlier."""
        entries = self._entries
        while entries and entries[0][1] + DEDUPLICATION_INTERVAL <= at:
            del self._keys[entries.popleft()[0]]
        if not entries:
            self._keys = {}  # an emptied dict keeps the memory of its fullest day

    def find(self, identity: bytes) -> int | None:
        """Key of the message sent under this digest; ``forget`` first."""
        return self._keys.get(identity)

    def remember(self, identity: bytes, at: int, key: int) -> None:
        """Under a digest that is not remembered; ``at`` never less than in the last call."""
        self._keys[identity] = key
        self._entries.append((identity, at))

    def capture(self) -> list[tuple[bytes, int, int]]:
        """(digest, instant, key), oldest first."""
        keys = self._keys
        return [(identity, at, keys[identity]) for identity, at in self._entries]


class Attempt:
    """What one receive handed out: under a receive-attempt id it can be asked for again. ``until``: when the visibility
    timeout ends that it set last."""

    __slots__ = ("at", "keys", "receipt", "until")

    def __init__(self, at: int, receipt: int, until: int, keys: tuple[int, ...]) -> None:
        self.at = at
        self.receipt = receipt
        self.until = until
        self.keys = keys


class Attempts:
    """By receive-attempt id, oldest first."""

    __slots__ = ("by_id",)

    def __init__(self) -> None:
        self.by_id: dict[str, Attempt] = {}

    def forget(self, at: int) -> None:
        while self.by_id:
            identity, attempt = next(iter(self.by_id.items()))
            if attempt.at + DEDUPLICATION_INTERVAL > at:
                return
            del self.by_id[identity]

    def find(self, identity: str) -> Attempt | None:
        """``forget`` first."""
        return self.by_id.get(identity)

    def remember(self, identity: str, attempt: Attempt) -> None:
        """Replaces what was known under the id."""
        self.by_id.pop(identity, None)
        self.by_id[identity] = attempt

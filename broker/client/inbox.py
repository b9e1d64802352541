"""A consumer's messages between their delivery and the moment somebody takes them, and the credit that brings more.

- Credit on its way plus messages here never exceed ``prefetch``.
- Credit is given back in pieces of half of it, not message by message.
- A delivery seen before (its number is not above the last one) is dropped: a new stream repeats what the lost one may
  not have delivered.
- A message whose visibility timeout is over while it waits here is dropped: the broker delivers it again, perhaps to
  somebody else, and handling it now would handle it twice.

Pure: ``now`` is handed in, in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from broker.base.errors import InvalidArgument
from broker.base.limits import MAX_CREDIT

Delivered = TypeVar("Delivered")


class Inbox(Generic[Delivered]):
    def __init__(self, prefetch: int) -> None:
        """Raises InvalidArgument."""
        if not 1 <= prefetch <= MAX_CREDIT:
            raise InvalidArgument(f"prefetch is {prefetch}; it must be from 1 to {MAX_CREDIT:,} messages")
        self._prefetch = prefetch
        self._piece = max(1, prefetch // 2)
        self._credit = 0
        self._messages: deque[tuple[Delivered, float]] = deque()
        self.last_delivery = 0
        self.dropped_stale = 0

    def __len__(self) -> int:
        return len(self._messages)

    def opened(self) -> None:
        """A new stream: the broker knows of no credit yet."""
        self._credit = 0

    def grant(self) -> int:
        """Credit to give now, which counts as given; 0: not yet."""
        wanted = self._prefetch - len(self._messages) - self._credit
        if wanted < self._piece:
            return 0
        self._credit += wanted
        return wanted

    def wants_credit(self) -> bool:
        return self._prefetch - len(self._messages) - self._credit >= self._piece

    def delivered(self, number: int, messages: Sequence[Delivered], expires_at: float) -> bool:
        """``expires_at``: when the messages' visibility timeout ends. False: a repetition, dropped."""
        self._credit = max(0, self._credit - len(messages))
        if number <= self.last_delivery:
            return False
        self.last_delivery = number
        self._messages.extend([(message, expires_at) for message in messages])
        return True

    def take(self, now: float) -> tuple[Delivered, float] | None:
        """The oldest message still ours, and until when it is."""
        while self._messages:
            message, expires_at = self._messages.popleft()
            if expires_at > now:
                return message, expires_at
            self.dropped_stale += 1
        return None

    def withdraw(self, unwanted: Callable[[Delivered], bool]) -> list[Delivered]:
        """Takes out what ``unwanted`` is true of."""
        out = [message for message, _ in self._messages if unwanted(message)]
        if out:
            self._messages = deque(pair for pair in self._messages if not unwanted(pair[0]))
        return out

    def clear(self) -> list[Delivered]:
        """Everything nobody took."""
        left = [message for message, _ in self._messages]
        self._messages.clear()
        return left

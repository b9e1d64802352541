"""Histories of one's own making, with a clock that is set by hand."""

from __future__ import annotations

from loadtest.faults.history import History, Key


class Told(History):
    """``at`` sets the clock, in seconds; every other method is the history's, or tells several of its at once."""

    def __init__(self) -> None:
        self.clock = 0.0
        super().__init__(lambda: self.clock)

    def at(self, seconds: float) -> Told:
        self.clock = seconds
        return self

    def send(self, key: Key, number: int | None = None, identity: str = "") -> None:
        self.sending([key])
        self.acknowledged(key, identity or f"id-{key}", number)

    def deliver(self, *keys: Key, asked: float | None = None, numbers: bool = False, identity: str = "") -> None:
        """In one call. ``numbers``: a FIFO queue, in which a key's number is its sequence number, and its sender has a
        group of its own."""
        self.received(
            self.clock if asked is None else asked,
            [(key, f"group-{key[0]}", identity or f"id-{key}", key[1] if numbers else None) for key in keys],
        )

    def delete(self, *keys: Key) -> None:
        for key in keys:
            self.deleting(key)
            self.was_deleted(key)

"""How much a node takes on at once. Beyond it, callers are told at once, instead of everybody waiting longer.

Counts requests and the bytes of their messages while they are worked on; knows nothing of what they want.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Overloaded
from broker.base.limits import MIB


class AdmissionSettings(msgspec.Struct, frozen=True):
    """``requests`` and ``size`` (bytes of message content) in flight on this node, over all callers."""

    requests: int = 16_384
    size: int = 256 * MIB


class Admission:
    __slots__ = ("_settings", "requests", "size", "turned_away")

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        self.requests = 0
        self.size = 0
        self.turned_away = 0

    def enter(self, size: int) -> None:
        """Take on one request with ``size`` bytes of content; ``leave`` with the same size when it has ended.

        Raises Overloaded, and then nothing has happened.
        """
        if self.requests >= self._settings.requests:
            self.turned_away += 1
            raise Overloaded(
                f"this node works on {self.requests} requests, its limit; nothing happened, retry after a pause"
            )
        if self.size + size > self._settings.size and self.requests:
            self.turned_away += 1
            raise Overloaded(
                f"this node has {self.size} bytes of messages in flight, {size} more would pass its limit of "
                f"{self._settings.size}; nothing happened, retry after a pause"
            )
        self.requests += 1
        self.size += size

    def leave(self, size: int) -> None:
        self.requests -= 1
        self.size -= size

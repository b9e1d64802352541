"""Where sends make way, before anything is spent on them: unread, or when it took too long until they were read.

This room must not know what a send is; how much is too much is decided by the services.
"""

from __future__ import annotations

from typing import Protocol

from broker.base.instants import Millis

MANY = 16
"""Sends that are being worked on. With fewer, one that had to wait shows that the node stood still for a moment, not
that there is too much to do."""


class Admitting(Protocol):
    """What of the services decides."""

    @property
    def send_target(self) -> Millis: ...

    def check_sends(self) -> None: ...

    def calls_wait(self, waited: Millis) -> None: ...


class SendGate:
    def __init__(self, queues: Admitting) -> None:
        self._queues = queues
        self.running = 0

    def look(self) -> None:
        """At a call of which nothing but its headers is there. Raises Overloaded."""
        if self.running >= MANY:
            self._queues.check_sends()

    def begin(self, waited: Millis) -> None:
        """Its request is there, ``waited`` ms after ``look``; followed by ``end`` whatever comes of it.

        Raises Overloaded when it has waited for longer than it may take in all: it would be late, and make others late.
        """
        self.running += 1
        queues = self._queues
        if 2 * waited > queues.send_target and self.running >= MANY:
            queues.calls_wait(waited)
            queues.check_sends()

    def end(self) -> None:
        self.running -= 1

"""How much a node takes on at once. Beyond it, callers are told at once, instead of everybody waiting longer.

Sends add to what the cluster has to keep, receives and deletes take from it: so sends are the first to be refused, and
leave a part of the room to the others. This room must not know what a call wants beyond that.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from broker.base.errors import Overloaded
from broker.base.instants import Millis
from broker.base.limits import KIB, MIB
from broker.services.shedding import SendWindow, WindowSettings
from broker.telemetry.metrics import Reading, Registry

MESSAGE_COST = KIB
REQUEST_COST = 4 * KIB
"""Bytes for which a message, and a send, count beside the content: small ones cost, too."""
MAX_WINDOWS = 4_096
_MOMENT = Millis(200)
"""A front door looks again after less."""

_WHAT_NOW = "nothing happened, retry after a pause"


class AdmissionSettings(msgspec.Struct, frozen=True):
    """``requests`` and ``size`` (bytes of message content) in flight on this node, over all callers; of the requests,
    sends may be one part in ``for_others`` fewer. ``polls``: receives that may wait, which are counted by themselves:
    they are many, and idle. ``window``: of the sends to one group."""

    requests: int = 16_384
    size: int = 256 * MIB
    polls: int = 20_000
    for_others: int = 8
    window: WindowSettings = WindowSettings()


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A send that was let in. ``began``: when it came, with what calls waited lately before they could be begun."""

    size: int
    cost: int
    began: Millis
    window: SendWindow


class Admission:
    __slots__ = (
        "_for_sends",
        "_sends_again_at",
        "_settings",
        "_waited",
        "_waits",
        "_windows",
        "asked",
        "polls",
        "refused",
        "requests",
        "size",
    )

    def __init__(self, settings: AdmissionSettings, registry: Registry | None = None) -> None:
        self._settings = settings
        self._for_sends = settings.requests - settings.requests // settings.for_others
        self._windows: dict[Hashable, SendWindow] = {}
        self.requests = 0
        self.size = 0
        self.polls = 0
        self._waits = self._waited = self._sends_again_at = Millis(0)
        self.asked = 0
        """How often somebody wanted to enter."""
        self.refused = {"requests": 0, "bytes": 0, "polls": 0, "time": 0, "wait": 0}
        """By the limit that was reached."""
        if registry is not None:
            self._tell(registry)

    @property
    def send_target(self) -> Millis:
        return self._settings.window.target

    @property
    def turned_away(self) -> int:
        return sum(self.refused.values())

    def enter(self, size: int) -> None:
        """Take on one request with ``size`` bytes of content; ``leave`` with the same size when it has ended.

        Raises Overloaded, and then nothing has happened.
        """
        self._take_on(size, self._settings.requests)

    def leave(self, size: int) -> None:
        self.requests -= 1
        self.size -= size

    def enter_receive(self, waits: bool) -> None:
        """As ``enter``; one that ``waits`` for messages does not take the room of those that do something."""
        if not waits:
            self.enter(0)
            return
        if self.polls >= self._settings.polls:
            self.refused["polls"] += 1
            raise Overloaded(f"{self.polls} long polls are open on this node, its limit; {_WHAT_NOW}")
        self.polls += 1

    def leave_receive(self, waits: bool) -> None:
        if waits:
            self.polls -= 1
        else:
            self.leave(0)

    def enter_send(self, size: int, messages: int, group: Hashable, now: Millis) -> Admitted:
        """As ``enter``, for a send to ``group``, or to whatever sends share their way with; None: not known yet."""
        window = self._windows.get(group)
        if window is None:
            window = self._new_window(group)
        cost = size + messages * MESSAGE_COST + REQUEST_COST
        self._take_on(size, self._for_sends)
        if not window.enter(cost):
            self.leave(size)
            self.refused["time"] += 1
            raise Overloaded(
                f"sends to this queue's group would take longer than {self._settings.window.target} ms: "
                f"{window.on_its_way} bytes are on their way, {window.size} get done in time; {_WHAT_NOW}, or send less"
            )
        return Admitted(size, cost, Millis(now - self._waits), window)

    def leave_send(self, admitted: Admitted, now: Millis, stored: bool) -> None:
        """``stored``: it has succeeded."""
        self.leave(admitted.size)
        admitted.window.leave(admitted.cost, admitted.began, now, stored)

    def late(self, waited: Millis, now: Millis) -> None:
        """Calls wait for so long before they come here: fewer sends; if too long for any, none for a moment."""
        self._waits = waited
        if waited >= self.send_target:
            self._waited = waited
            self._sends_again_at = Millis(now + _MOMENT)
        for window in self._windows.values():
            window.close(waited, now)

    def at_ease(self) -> None:
        """Calls do not wait any more before they come here."""
        self._sends_again_at = self._waits = Millis(0)
        for window in self._windows.values():
            window.may_open()

    def check_sends(self, now: Millis) -> None:
        """For a front door, before it spends anything on a send. Raises Overloaded."""
        if now < self._sends_again_at:
            self.asked += 1
            self.refused["wait"] += 1
            raise Overloaded(f"calls wait for {self._waited} ms before this node can begin them; {_WHAT_NOW}")

    def _take_on(self, size: int, requests: int) -> None:
        self.asked += 1
        if self.requests >= requests:
            self.refused["requests"] += 1
            raise Overloaded(f"this node works on {self.requests} requests, its limit is {requests}; {_WHAT_NOW}")
        if self.size + size > self._settings.size and self.requests:
            self.refused["bytes"] += 1
            raise Overloaded(
                f"this node has {self.size} bytes of messages in flight, {size} more would pass its limit of "
                f"{self._settings.size}; {_WHAT_NOW}"
            )
        self.requests += 1
        self.size += size

    def _new_window(self, group: Hashable) -> SendWindow:
        if len(self._windows) >= MAX_WINDOWS:
            del self._windows[next(iter(self._windows))]
        window = self._windows[group] = SendWindow(self._settings.window)
        return window

    def _tell(self, registry: Registry) -> None:
        def refused() -> Reading:
            return [((limit,), count) for limit, count in self.refused.items()]

        def held() -> Reading:
            return [(("requests",), self.requests), (("bytes",), self.size), (("polls",), self.polls)]

        registry.counters("broker_admission_refused", "Requests refused as Overloaded, by limit.", ("limit",), refused)
        registry.gauges(
            "broker_admission_held", "Requests in flight, bytes of their messages, long polls.", ("what",), held
        )

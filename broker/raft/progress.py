"""The leader's picture of one peer: how far it matches, what to send next, how much may be in flight.

Knows no messages; quantities are entries' indices and bytes of entry data.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import msgspec

from broker.base.ids import Index
from broker.base.instants import Millis


class PeerState(Enum):
    PROBE = "probe"
    """Where the logs agree is not known: one append at a time."""
    REPLICATE = "replicate"
    """Appends follow one another without waiting, as far as the window allows."""
    SNAPSHOT = "snapshot"
    """The peer waits for a snapshot; nothing is appended."""


class PeerView(msgspec.Struct, frozen=True):
    """A peer's progress, for status."""

    matched: Index
    next: Index
    state: PeerState
    inflight: int
    inflight_bytes: int
    recently_active: bool


class Progress:
    """``matched``: known to be durable there. ``next``: the first entry that was not sent yet."""

    __slots__ = (
        "_window",
        "acked_round",
        "confirmed_in",
        "heard_at",
        "inflight_bytes",
        "matched",
        "next",
        "paused",
        "pending_snapshot",
        "stalled_at",
        "state",
    )

    def __init__(self, next_index: Index, heard_at: Millis) -> None:
        self.matched = Index(0)
        self.next = next_index
        self.state = PeerState.PROBE
        self.paused = False
        """In PROBE: an append is out, wait for its answer."""
        self.heard_at = heard_at
        self.acked_round = 0
        self.confirmed_in = 0
        """The leader's round when ``matched`` was last confirmed."""
        self.pending_snapshot = Index(0)
        self.stalled_at = Index(0)
        """``matched`` at the last heartbeat's reply: no advance since means that something may have been lost."""
        self._window: deque[tuple[Index, int]] = deque()
        self.inflight_bytes = 0

    @property
    def inflight(self) -> int:
        """Appends sent and not acknowledged."""
        return len(self._window)

    def sent(self, last: Index, size: int) -> None:
        """An append whose last entry is ``last``, with ``size`` bytes of data, is on its way."""
        if self.state is PeerState.REPLICATE:
            self._window.append((last, size))
            self.inflight_bytes += size
            self.next = Index(last + 1)
        else:
            self.paused = True

    def acknowledge(self, index: Index) -> None:
        """The peer holds everything up to ``index``, durably: the window moves."""
        self.matched = index
        if self.next <= index:
            self.next = Index(index + 1)
        window = self._window
        while window and window[0][0] <= index:
            self.inflight_bytes -= window.popleft()[1]

    def probe(self, next_index: Index) -> None:
        """Find out where the logs agree, trying below ``next_index``."""
        self._restart(PeerState.PROBE)
        self.next = max(next_index, Index(self.matched + 1))

    def replicate(self) -> None:
        """The logs agree up to ``matched``: stream the rest."""
        self._restart(PeerState.REPLICATE)
        self.next = Index(self.matched + 1)

    def await_snapshot(self, index: Index) -> None:
        self._restart(PeerState.SNAPSHOT)
        self.pending_snapshot = index

    def forget(self) -> None:
        """A learner has begun anew, with nothing. (What a voter has lost is not to be made good here: it has promised
        things, and must not vote until it has been out of the group.)"""
        self.matched = Index(0)
        self._restart(PeerState.PROBE)

    def _restart(self, state: PeerState) -> None:
        self.state = state
        self.paused = False
        self._window.clear()
        self.inflight_bytes = 0

    def view(self, now: Millis, active_for: Millis) -> PeerView:
        return PeerView(
            self.matched,
            self.next,
            self.state,
            self.inflight,
            self.inflight_bytes,
            now - self.heard_at <= active_for,
        )

"""How long messages wait in their queues before they are handed out: one histogram a queue, kept where it is led.

A message counts once for every hand-out. This room must not know how messages are found.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.base.ids import QueueId
from broker.base.instants import SECOND, WallMillis
from broker.telemetry.metrics import Histogram, Registry

BOUNDS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
"""Milliseconds, up to a quarter of an hour."""
MAX_QUEUES = 20_000
"""Whose times are told; beyond it the one introduced first, which may be long deleted, is forgotten."""
_NAME = "broker_queue_dwell_seconds"


class DwellTimes:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._histograms: dict[QueueId, Histogram] = {}
        self._names: dict[QueueId, str] = {}

    def known(self, queue: QueueId) -> bool:
        return queue in self._histograms

    def introduce(self, queue: QueueId, name: str) -> None:
        if len(self._histograms) >= MAX_QUEUES:
            oldest = next(iter(self._histograms))
            del self._histograms[oldest]
            forgotten = self._names.pop(oldest)
            if forgotten not in self._names.values():  # the name may have been given anew
                self._registry.forget(_NAME, {"queue": forgotten})
        self._names[queue] = name
        self._histograms[queue] = self._registry.histogram(
            _NAME,
            "Time from a message's sending to its being handed out.",
            {"queue": name},
            bounds=BOUNDS,
            scale=SECOND,
        )

    def handed_out(self, queue: QueueId, sent_at: Iterable[WallMillis], now: WallMillis) -> None:
        """``queue`` must have been introduced."""
        observe = self._histograms[queue].observe
        for instant in sent_at:
            observe(max(0, now - instant))

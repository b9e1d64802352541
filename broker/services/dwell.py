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


class DwellTimes:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._histograms: dict[QueueId, Histogram] = {}

    def known(self, queue: QueueId) -> bool:
        return queue in self._histograms

    def introduce(self, queue: QueueId, name: str) -> None:
        self._histograms[queue] = self._registry.histogram(
            "broker_queue_dwell_seconds",
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

"""Latencies: recorded cheaply while the load runs, made into percentiles and a picture afterwards."""

from __future__ import annotations

from array import array

import msgspec
from hdrh.histogram import HdrHistogram

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 100.0)
_LONGEST_US = 600_000_000
_SIGNIFICANT_DIGITS = 3


class Bucket(msgspec.Struct, frozen=True):
    """``count`` latencies from ``low`` up to below ``high`` microseconds."""

    low: int
    high: int
    count: int


class Latencies:
    """Recording costs an append; the histogram is made when it is asked for."""

    def __init__(self) -> None:
        self._micros = array("q")

    def __len__(self) -> int:
        return len(self._micros)

    def record(self, nanoseconds: int) -> None:
        self._micros.append(nanoseconds // 1000)

    def percentiles(self) -> dict[float, int]:
        """Microseconds at each of PERCENTILES; 100 is the maximum. Empty when nothing was recorded."""
        if not self._micros:
            return {}
        histogram = HdrHistogram(1, _LONGEST_US, _SIGNIFICANT_DIGITS)
        for micros in self._micros:
            histogram.record_value(min(max(micros, 1), _LONGEST_US))
        return {percentile: int(histogram.get_value_at_percentile(percentile)) for percentile in PERCENTILES}

    def buckets(self) -> list[Bucket]:
        """Counts between steps of 1, 2, 5, 10, 20, 50 ... microseconds; from the first filled one to the last."""
        steps = [factor * 10**power for power in range(9) for factor in (1, 2, 5)]
        counts = [0] * len(steps)
        for micros in self._micros:
            place = 0
            while place + 1 < len(steps) and micros >= steps[place + 1]:
                place += 1
            counts[place] += 1
        filled = [place for place, count in enumerate(counts) if count]
        if not filled:
            return []
        highs = [*steps[1:], _LONGEST_US]
        return [Bucket(steps[place], highs[place], counts[place]) for place in range(filled[0], filled[-1] + 1)]

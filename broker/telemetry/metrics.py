"""Metrics: plain integers on the hot path, read by one Prometheus collector when somebody asks.

Counting is ``counter.value += 1`` on an object made at start-up with its labels. Numbers that something else already
keeps (queue depths, lag) are not counted again: a callback reads them at scrape time. Writing the text takes hundreds
of milliseconds for a thousand series, so ``render`` copies the numbers on the event loop and writes the text in a
thread. This room must not know what is measured.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MICROSECONDS_PER_SECOND = 1_000_000
LATENCY_BOUNDS = tuple(step * decade for decade in (100, 1_000, 10_000, 100_000, 1_000_000) for step in (1, 2, 5))
"""Bucket bounds in microseconds, 100 us to 5 s: for latencies of disk, network and calls."""
SIZE_BOUNDS = tuple(4**power for power in range(13))
"""Bucket bounds from 1 to 16,777,216 in steps of four: for sizes in bytes and counts of things in a batch."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Counter:
    """A number that only grows: ``counter.value += 1``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Gauge:
    """A number that goes up and down: ``gauge.value = 3``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Histogram:
    """Counts observed integers by fixed buckets; a value equal to a bound belongs to that bound's bucket."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def observe(self, value: int) -> None:
        """In the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


Instrument = Counter | Gauge | Histogram
Kind = Literal["counter", "gauge", "histogram"]
Reading = Iterable[tuple[Sequence[str], float]]
"""What a callback yields: label values in the order of the names, and the number."""

_Made = TypeVar("_Made", Counter, Gauge, Histogram)
_Labels = tuple[str, ...]


class _Family(msgspec.Struct):
    """All series of one name. ``scale`` is how many of the counted units make one of the exported unit."""

    name: str
    description: str
    kind: Kind
    label_names: _Labels
    scale: int = 1
    instruments: dict[_Labels, Instrument] = {}
    read: Callable[[], Reading] | None = None


class _Copied(msgspec.Struct, frozen=True):
    """The numbers of one family at one instant, for another thread to write out."""

    name: str
    description: str
    kind: Kind
    label_names: _Labels
    scale: int
    values: list[tuple[_Labels, float]]
    buckets: list[tuple[_Labels, tuple[int, ...], list[int], int]]


class Registry:
    """All metrics of a process. Names are as exported: counters without ``_total``, units in the name."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, description: str, labels: Mapping[str, str] | None = None) -> Counter:
        """The counter of this name and these labels; the same object when asked again."""
        return self._instrument(_Family(name, description, "counter", tuple(labels or ())), labels, Counter)

    def gauge(self, name: str, description: str, labels: Mapping[str, str] | None = None) -> Gauge:
        """The gauge of this name and these labels; the same object when asked again."""
        return self._instrument(_Family(name, description, "gauge", tuple(labels or ())), labels, Gauge)

    def histogram(
        self,
        name: str,
        description: str,
        labels: Mapping[str, str] | None = None,
        *,
        bounds: tuple[int, ...] = LATENCY_BOUNDS,
        scale: int = MICROSECONDS_PER_SECOND,
    ) -> Histogram:
        """The histogram of this name and these labels; the same object when asked again. ``bounds`` ascend.

        Observed values and bounds are divided by ``scale`` when exported: by default microseconds become seconds.
        """
        if not bounds or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"bounds of {name} must ascend and be at least one, these are {bounds}")
        family = _Family(name, description, "histogram", tuple(labels or ()), scale)
        histogram = self._instrument(family, labels, lambda: Histogram(bounds))
        if histogram.bounds != bounds:
            raise ValueError(f"{name} was registered with bounds {histogram.bounds}, now with {bounds}")
        return histogram

    def gauges(self, name: str, description: str, label_names: Sequence[str], read: Callable[[], Reading]) -> None:
        """Gauges that ``read`` tells at scrape time, on the event loop: it must be quick and touch no I/O."""
        self._add(_Family(name, description, "gauge", tuple(label_names), read=read))

    def counters(self, name: str, description: str, label_names: Sequence[str], read: Callable[[], Reading]) -> None:
        """Counters kept elsewhere, that ``read`` tells at scrape time, on the event loop."""
        self._add(_Family(name, description, "counter", tuple(label_names), read=read))

    def copy(self) -> list[_Copied]:
        """All numbers of this instant. Runs on the event loop: about a microsecond a series."""
        return [_copy(family) for family in self._families.values()]

    def _instrument(self, wanted: _Family, labels: Mapping[str, str] | None, make: Callable[[], _Made]) -> _Made:
        family = self._families.get(wanted.name)
        if family is None:
            family = self._add(wanted)
        shape = (wanted.kind, wanted.label_names, wanted.scale)
        if (family.kind, family.label_names, family.scale) != shape or family.read is not None:
            raise ValueError(
                f"metric {wanted.name} is already a {family.kind} with labels {family.label_names} and scale "
                f"{family.scale}; it cannot also be {shape}: choose another name"
            )
        values = tuple((labels or {}).values())
        made = family.instruments.get(values)
        if made is None:
            made = family.instruments[values] = make()
        return made  # type: ignore[return-value]  # one kind per family, checked above

    def _add(self, family: _Family) -> _Family:
        if not _NAME.fullmatch(family.name) or family.name.endswith("_total"):
            raise ValueError(f"metric name {family.name!r} must be lower_snake_case and not end in _total")
        if family.name in self._families:
            raise ValueError(f"metric {family.name} is registered already: choose another name")
        self._families[family.name] = family
        return family


async def render(registry: Registry) -> bytes:
    """The Prometheus text of all metrics and of the process itself (CPU, memory, open files).

    The event loop only copies numbers; a thread writes the text. Raises what a callback raises.
    """
    copied = registry.copy()
    return await asyncio.to_thread(_write, copied)


class _PullCollector(Collector):
    """Hands copied numbers to prometheus_client."""

    def __init__(self, copied: list[_Copied]) -> None:
        self._copied = copied

    def collect(self) -> Iterable[Metric]:
        for family in self._copied:
            yield _METRICS[family.kind](family)


def _write(copied: list[_Copied]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_PullCollector(copied))
    return generate_latest(registry)


def _copy(family: _Family) -> _Copied:
    values: list[tuple[_Labels, float]] = []
    buckets: list[tuple[_Labels, tuple[int, ...], list[int], int]] = []
    if family.read is not None:
        values = [(tuple(labels), value) for labels, value in family.read()]
    for labels, instrument in family.instruments.items():
        if isinstance(instrument, Histogram):
            buckets.append((labels, instrument.bounds, list(instrument.counts), instrument.total))
        else:
            values.append((labels, instrument.value))
    return _Copied(family.name, family.description, family.kind, family.label_names, family.scale, values, buckets)


def _counter(family: _Copied) -> Metric:
    metric = CounterMetricFamily(family.name, family.description, labels=family.label_names)
    for labels, value in family.values:
        metric.add_metric(labels, value)
    return metric


def _gauge(family: _Copied) -> Metric:
    metric = GaugeMetricFamily(family.name, family.description, labels=family.label_names)
    for labels, value in family.values:
        metric.add_metric(labels, value)
    return metric


def _histogram(family: _Copied) -> Metric:
    metric = HistogramMetricFamily(family.name, family.description, labels=family.label_names)
    for labels, bounds, counts, total in family.buckets:
        cumulative = 0
        rows: list[tuple[str, float]] = []
        for bound, count in zip(bounds, counts[:-1], strict=True):
            cumulative += count
            rows.append((str(bound / family.scale), cumulative))
        rows.append(("+Inf", cumulative + counts[-1]))
        metric.add_metric(labels, rows, total / family.scale)
    return metric


_METRICS: dict[Kind, Callable[[_Copied], Metric]] = {"counter": _counter, "gauge": _gauge, "histogram": _histogram}

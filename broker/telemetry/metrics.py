"""Metrics: plain integers on the hot path, read by one Prometheus collector when somebody asks.

Counting is ``counter.value += 1`` on an object made at start-up with its labels. Numbers that something else already
keeps (queue depths, lag) are not counted again: a callback reads them at scrape time. There may be tens of thousands of
series, so ``render`` copies the numbers on the event loop name by name, lets others run in between, and has the text
written in a thread. This room must not know what is measured.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from broker.telemetry.exposition import Kind, Labels, Series, write

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
Reading = Iterable[tuple[Sequence[str], float]]
"""What a callback yields: label values in the order of the names, and the number."""

_Made = TypeVar("_Made", Counter, Gauge, Histogram)


class _Family(msgspec.Struct):
    """All series of one name. ``scale`` is how many of the counted units make one of the exported unit."""

    name: str
    description: str
    kind: Kind
    label_names: Labels
    scale: int = 1
    instruments: dict[Labels, Instrument] = {}
    read: Callable[[], Reading] | None = None


class Registry:
    """All metrics of a process. Names are as exported: counters without ``_total``, units in the name."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self._preparing: list[Callable[[], Awaitable[None]]] = []

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

    def forget(self, name: str, labels: Mapping[str, str]) -> None:
        """The series with these labels is told no more; whoever holds its instrument counts for nobody."""
        family = self._families.get(name)
        if family is not None:
            family.instruments.pop(tuple(labels.values()), None)

    def gauges(self, name: str, description: str, label_names: Sequence[str], read: Callable[[], Reading]) -> None:
        """Gauges that ``read`` tells at scrape time, on the event loop: it must be quick and touch no I/O."""
        self._add(_Family(name, description, "gauge", tuple(label_names), read=read))

    def counters(self, name: str, description: str, label_names: Sequence[str], read: Callable[[], Reading]) -> None:
        """Counters kept elsewhere, that ``read`` tells at scrape time, on the event loop."""
        self._add(_Family(name, description, "counter", tuple(label_names), read=read))

    def before_reading(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """``prepare`` is awaited before the callbacks are asked: to gather once what several of them tell."""
        self._preparing.append(prepare)

    async def prepare(self) -> None:
        """Raises what a preparation raises."""
        for prepare in self._preparing:
            await prepare()

    def copy(self) -> Iterator[Series]:
        """All numbers, name by name, each as it is when it is asked for. For the event loop: takes about half a
        microsecond a series. Raises what a callback raises."""
        for family in list(self._families.values()):
            yield _copy(family)

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
    await registry.prepare()
    copied: list[Series] = []
    for series in registry.copy():
        copied.append(series)
        await asyncio.sleep(0)
    return await asyncio.to_thread(_written, copied)


def _written(copied: list[Series]) -> bytes:
    own = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=own)
    return write(copied) + generate_latest(own)


def _copy(family: _Family) -> Series:
    values: list[tuple[Labels, float]] = []
    buckets: list[tuple[Labels, tuple[int, ...], list[int], int]] = []
    if family.read is not None:
        values = [(tuple(labels), value) for labels, value in family.read()]
    for labels, instrument in family.instruments.items():
        if isinstance(instrument, Histogram):
            buckets.append((labels, instrument.bounds, list(instrument.counts), instrument.total))
        else:
            values.append((labels, instrument.value))
    return Series(family.name, family.description, family.kind, family.label_names, family.scale, values, buckets)

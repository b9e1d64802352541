"""When each message is due. Pure: fixed before the run, whatever the cluster does.

Latency is measured from the due time, not from the moment a message could be sent: a stall delays the messages behind
it, and they count as slow although they were sent late. Leaving that out is called coordinated omission.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from loadtest.workload import Phase, Workload

NANOSECONDS = 1_000_000_000


class Chance(Protocol):
    """The part of ``random.Random`` that is used."""

    def expovariate(self, lambd: float) -> float: ...


class Arrival(NamedTuple):
    """``due_ns`` after the start of the run. ``phase`` is an index into the workload's phases."""

    due_ns: int
    phase: int


def arrivals(workload: Workload, producer: int, chance: Chance) -> Iterator[Arrival]:
    """The messages of one producer (from 0), ascending. Together, the producers keep to each phase's rate."""
    start = 0.0
    for number, phase in enumerate(workload.phases):
        offsets = (
            _even(phase, producer, workload.producers)
            if workload.arrivals == "even"
            else _poisson(phase, workload.producers, chance)
        )
        for offset in offsets:
            yield Arrival(round((start + offset) * NANOSECONDS), number)
        start += phase.seconds


def measured_interval(workload: Workload) -> tuple[float, float]:
    """Seconds from the start of the run: from the first measured phase's begin to the last one's end."""
    begin, end, clock = None, 0.0, 0.0
    for phase in workload.phases:
        if phase.measured:
            begin = clock if begin is None else begin
            end = clock + phase.seconds
        clock += phase.seconds
    return begin or 0.0, end


def _even(phase: Phase, producer: int, producers: int) -> Iterator[float]:
    """Producers take turns, so that the sum is as even as each."""
    turn = 0
    while (offset := (turn * producers + producer) / phase.rate) < phase.seconds:
        yield offset
        turn += 1


def _poisson(phase: Phase, producers: int, chance: Chance) -> Iterator[float]:
    offset = chance.expovariate(phase.rate / producers)
    while offset < phase.seconds:
        yield offset
        offset += chance.expovariate(phase.rate / producers)

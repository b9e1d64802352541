"""What load to make: a queue, its messages, who sends and receives, and how fast in which phase.

Read from TOML. Knows nothing of clusters or clients.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from loadtest.stamps import STAMP_BYTES

SHIPPED = Path(__file__).with_name("workloads")


class WorkloadError(Exception):
    """The file cannot be used; the message says where and why."""


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rate`` in messages per second over all producers. Phases not ``measured`` warm things up."""

    name: str
    seconds: float
    rate: float
    measured: bool = True


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``arrivals``: at even distances, or at random like independent senders. ``drain_seconds``: how long the consumers
    may still take when the last message was sent."""

    queue: str
    phases: tuple[Phase, ...]
    message_bytes: int = 1024
    producers: int = 1
    consumers: int = 1
    prefetch: int = 1000
    arrivals: Literal["even", "poisson"] = "even"
    visibility_timeout_seconds: float = 30.0
    drain_seconds: float = 60.0
    seed: int = 1

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)


def load(name_or_file: str) -> Workload:
    """A shipped workload by name, or a file. Raises WorkloadError."""
    path = Path(name_or_file)
    if path.suffix != ".toml":
        path = SHIPPED / f"{name_or_file}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.toml")))
        raise WorkloadError(f"{name_or_file!r} is no workload: name a .toml file or one of {shipped}")
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, source: str) -> Workload:
    """Raises WorkloadError, which names ``source`` and what is wrong with it."""
    try:
        workload = msgspec.convert(tomllib.loads(text), Workload)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise WorkloadError(f"{source}: {error}") from error
    _check(workload, source)
    return workload


def _check(workload: Workload, source: str) -> None:
    if workload.message_bytes < STAMP_BYTES:
        raise WorkloadError(
            f"{source}: message_bytes is {workload.message_bytes}; a message carries a stamp of {STAMP_BYTES} bytes"
        )
    for key in ("producers", "consumers", "prefetch"):
        if getattr(workload, key) < 1:
            raise WorkloadError(f"{source}: {key} is {getattr(workload, key)}; at least 1")
    if not workload.phases:
        raise WorkloadError(f"{source}: no phases; add [[phases]] with name, seconds and rate")
    for phase in workload.phases:
        if phase.seconds <= 0 or phase.rate <= 0:
            raise WorkloadError(
                f"{source}: phase {phase.name!r} has {phase.seconds} seconds at rate {phase.rate}; both must be above 0"
            )
    if not any(phase.measured for phase in workload.phases):
        raise WorkloadError(f"{source}: every phase has measured = false, so nothing would be reported")

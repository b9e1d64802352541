"""One node, as ``broker node`` runs it, and beside it a watch on how long its event loop stands still.

``python -m loadtest.watched --config FILE``. SIGUSR1 begins a watch, SIGUSR2 ends it and writes what was found beside
the configuration. A pause is the time by which a timer was late. What the loop's thread spent waiting for a processor
that other processes had is told apart: it says something about the machine, not about the node.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappush, heappushpop
from pathlib import Path

import msgspec

from broker.aio import runner
from broker.aio.system_clock import microseconds
from broker.node.process import run_node
from broker.node.settings import load
from loadtest.cluster import ClusterError, LocalCluster
from loadtest.figures import Figure

PROGRAM = ("loadtest.watched",)
"""For LocalCluster."""
TICK_SECONDS = 0.005
PAUSE_MS = 50.0
_KEPT = 20
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0


class Pause(msgspec.Struct, frozen=True, order=True):
    """Milliseconds; ``own``: without the time in which the loop's thread waited for a processor. ``cpu``: what all
    threads of the process used meanwhile: where that is much less, another of them was waiting for a processor, or for
    the disk, while it kept the loop from running. ``at``: since the watch began."""

    own: float
    late: float
    cpu: float
    at: float


class Watch:
    """Keeps the longest pauses. ``now`` in microseconds; nanoseconds: ``waited``, which this thread has waited for a
    processor, and ``used``, which the process has used one."""

    def __init__(self) -> None:
        self.longest: list[Pause] = []
        """A heap: the shortest of them first."""
        self._began = self._due = 0
        self._waited = self._used = 0

    def begin(self, now: int, waited: int, used: int) -> None:
        """The first tick is due TICK_SECONDS from ``now``, and each other one so long after the one before."""
        self.longest = []
        self._began = now
        self._expect(now, waited, used)

    def tick(self, now: int, waited: int, used: int) -> None:
        late = max(0, now - self._due) / 1_000
        own = max(0.0, late - (waited - self._waited) / 1_000_000)
        pause = Pause(own, late, (used - self._used) / 1_000_000, (now - self._began) / 1_000)
        if len(self.longest) < _KEPT:
            heappush(self.longest, pause)
        elif pause > self.longest[0]:
            heappushpop(self.longest, pause)
        self._expect(now, waited, used)

    def _expect(self, now: int, waited: int, used: int) -> None:
        self._due = now + round(TICK_SECONDS * 1_000_000)
        self._waited, self._used = waited, used


class LoopWatch:
    """A Watch that a running loop keeps, begun and ended by signals."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Path) -> None:
        self._loop = loop
        self._report = report
        self._watch = Watch()
        self._timer: asyncio.TimerHandle | None = None
        self._scheduling = os.open("/proc/self/schedstat", os.O_RDONLY)
        loop.add_signal_handler(signal.SIGUSR1, self._begin)
        loop.add_signal_handler(signal.SIGUSR2, self._end)

    def _begin(self) -> None:
        self._watch.begin(microseconds(), self._waited(), time.process_time_ns())
        self._again()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        part = self._report.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(self._watch.longest))
        part.rename(self._report)

    def _tick(self) -> None:
        self._watch.tick(microseconds(), self._waited(), time.process_time_ns())
        self._again()

    def _again(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _waited(self) -> int:
        return waited_in(os.pread(self._scheduling, 128, 0))


def waited_in(schedstat: bytes) -> int:
    """Nanoseconds on a run queue, of the text of /proc/PID/schedstat: time on the processor, time waiting, turns."""
    return int(schedstat.split()[1])


class Watched:
    """What a finished watch found, by node."""

    def __init__(self) -> None:
        self.longest: dict[str, list[Pause]] = {}

    def worst(self) -> tuple[str, Pause]:
        """The longest of the nodes' own pauses, and whose it was."""
        return max(((node, max(pauses)) for node, pauses in self.longest.items() if pauses), key=lambda found: found[1])


def pause_figure(what: str, watched: Watched, detail: str = "") -> Figure:
    """The longest of the nodes' own pauses during ``what``."""
    node, pause = watched.worst()
    parts = [f"of {node}; {pause.late:.0f} ms with the wait for a processor, {pause.cpu:.0f} ms of CPU meanwhile"]
    return Figure(
        f"longest own pause: {what}", pause.own, PAUSE_MS, "ms", "; ".join([*parts, detail] if detail else parts)
    )


@asynccontextmanager
async def watching(cluster: LocalCluster) -> AsyncIterator[Watched]:
    """Watches the loops of the nodes that run, from here to the end of the block. Raises ClusterError."""
    watched = Watched()
    pids = cluster.pids()
    reports = {node: cluster.nodes[node].config.with_suffix(".pauses") for node in pids}
    for node, pid in pids.items():
        reports[node].unlink(missing_ok=True)
        os.kill(pid, signal.SIGUSR1)
    yield watched
    still = {node: pid for node, pid in pids.items() if cluster.nodes[node].pid == pid}
    for pid in still.values():
        os.kill(pid, signal.SIGUSR2)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            for node in still:
                watched.longest[node] = await _appearing(reports[node])
    except TimeoutError:
        raise ClusterError(f"node {node} did not tell its pauses within {_PATIENCE_SECONDS:g} s") from None


async def _appearing(report: Path) -> list[Pause]:
    while True:
        found = _found_in(report)
        if found is not None:
            return found
        await asyncio.sleep(_POLL_SECONDS)


def _found_in(report: Path) -> list[Pause] | None:
    """None: the node has not written it yet."""
    try:
        return msgspec.json.decode(report.read_bytes(), type=list[Pause])
    except FileNotFoundError:
        return None


async def _run(config: Path, stop: asyncio.Event) -> int:
    LoopWatch(asyncio.get_running_loop(), config.with_suffix(".pauses"))
    return await run_node(load(config), stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.watched", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config: Path = parser.parse_args().config
    raise SystemExit(runner.run(lambda stop: _run(config, stop)))


if __name__ == "__main__":
    main()

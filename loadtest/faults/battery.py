"""Runs cells one after the other for as long as it may, on a cluster that is made anew when a cell left it broken."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from broker.base.errors import BrokerError
from loadtest.cluster import ClusterError
from loadtest.faults.catalogue import FAULTS
from loadtest.faults.cell import CellRun, encoded
from loadtest.faults.history import History
from loadtest.faults.matrix import Cell
from loadtest.faults.network import Network
from loadtest.faults.outcome import Outcome
from loadtest.faults.report import line_of
from loadtest.faults.scene import Fault
from loadtest.faults.workloads import PLANS
from loadtest.faults.zones import ZonedCluster

_FAILED_STARTS = 3
"""In a row, after which there is no sense in going on."""


class Battery:
    """``outcomes`` grows as cells end, so that it holds what ran, however the run ends."""

    def __init__(self, new_network: Callable[[], Network], out: Path, console: Console) -> None:
        """``out``: histories and node logs of cells that went wrong are kept there."""
        self.outcomes: list[Outcome] = []
        self._new_network = new_network
        self._out = out
        self._console = console
        self._cluster: ZonedCluster | None = None
        self._folder = out
        self._for: Fault | None = None
        self._made = 0
        self._number = 0

    async def run(self, rows: Sequence[Sequence[Cell]], seconds: float) -> None:
        """The cells of a row, which have one fault, run at once. Begins none after ``seconds``; goes through ``rows``
        again while time is left. Raises NetworkError, ClusterError when no cluster can be started any more."""
        remove_leftovers(self._out)
        until = time.monotonic() + seconds
        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[doing]}"),
            console=self._console, transient=True,
        )  # fmt: skip
        try:
            with progress:
                bar = progress.add_task("faults", total=seconds, doing="")
                began = time.monotonic()
                while rows and time.monotonic() < until:
                    for row in rows:
                        if time.monotonic() >= until:
                            break
                        await self._run_row(row, progress, bar)
                        progress.update(bar, completed=time.monotonic() - began)
        finally:
            await self._leave()

    async def _run_row(self, row: Sequence[Cell], progress: Progress, bar: TaskID) -> None:
        fault = FAULTS[row[0].fault]
        name = f"{fault.name} x {', '.join(cell.workload for cell in row)}"
        self._number += 1

        def say(what: str) -> None:
            progress.update(bar, description=name, doing=what)

        say("starting nodes")
        cluster = await self._cluster_for(fault)
        run = CellRun(cluster, fault, [PLANS[cell.workload] for cell in row], self._number, say)
        try:
            outcomes = await run.run()
        except (BrokerError, ClusterError) as error:
            self._console.print(f"[yellow]{name} could not begin: {error}[/]")
            await self._leave()
            return
        self.outcomes += outcomes
        for share, outcome in zip(run.shares, outcomes, strict=True):
            progress.console.print(line_of(outcome), soft_wrap=True, highlight=False)
            if outcome.state != "kept":
                self._keep(share.history, outcome)
        if fault.changes or any(outcome.state != "kept" for outcome in outcomes):
            await self._leave()

    async def _cluster_for(self, fault: Fault) -> ZonedCluster:
        """One that is whole: that of the cell before, if it has what this one needs."""
        known = self._for
        if self._cluster is not None and known is not None and _alike(known, fault):
            return self._cluster
        await self._leave()
        for attempt in range(_FAILED_STARTS):
            self._made += 1
            self._folder = self._out / f"cluster-{self._made}"
            cluster = ZonedCluster(
                self._new_network(),
                self._folder,
                fault.nodes,
                fault.volatile,
                fault.spares,
                fault.replace_dead_after,
            )
            self._cluster, self._for = cluster, fault
            try:
                await cluster.start()
                return cluster
            except ClusterError as error:
                self._console.print(f"[yellow]{error}[/]")
                await self._leave()
                if attempt == _FAILED_STARTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _leave(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, history: History, outcome: Outcome) -> None:
        """The history, and what the nodes logged."""
        place = self._out / f"{self._number:03}-{outcome.fault}-{outcome.workload}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "history.json").write_bytes(encoded(history))
        for log in self._folder.glob("*.log"):
            with contextlib.suppress(OSError):
                shutil.copy(log, place)


def remove_leftovers(out: Path) -> None:
    """What an earlier run left: cells that went wrong, and, if it was killed, a cluster."""
    kept = {path for fault in FAULTS for path in out.glob(f"[0-9][0-9][0-9]-{fault}-*")}
    for path in [*kept, *out.glob("cluster-[0-9]*")]:
        shutil.rmtree(path)


def _alike(one: Fault, other: Fault) -> bool:
    return all(
        getattr(one, name) == getattr(other, name) for name in ("nodes", "volatile", "spares", "replace_dead_after")
    )

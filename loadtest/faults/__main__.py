"""The fault battery: ``python -m loadtest.faults --minutes N [--only fault,workload] [--out DIR]``.

Real node processes in three zones, faults of network, processes, disks and clocks, clients at work, and a verdict for
each cell (a fault and a workload). Exit code 1 when a promise about messages was broken, 2 when it could not run.
"""

from __future__ import annotations

import asyncio
import datetime
import fcntl
import os
import platform
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
import uvloop
from rich.console import Console

from loadtest.cluster import ClusterError
from loadtest.faults import matrix, namespaces
from loadtest.faults.battery import Battery
from loadtest.faults.catalogue import CONTROLS, FAULTS
from loadtest.faults.loopback import LoopbackNetwork
from loadtest.faults.markdown import recorded, section_of
from loadtest.faults.network import Network, NetworkError
from loadtest.faults.outcome import Outcome
from loadtest.faults.page import page_of
from loadtest.faults.report import Setting, summary_of, text_of
from loadtest.faults.workloads import PLANS
from loadtest.faults.zones import SEEN_PORTS
from loadtest.figures import load_average

INTERRUPTED = 130
SECTION = "report.md"
Kind = Literal["auto", "namespaces", "loopback"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def faults(
    minutes: Annotated[float, typer.Option(help="Begin no cell after that.", min=0.1)] = 30.0,
    only: Annotated[str, typer.Option(help="Names of faults and workloads, with commas between.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the reports go.", show_default=".broker/faults")] = None,
    network: Annotated[str, typer.Option(help="auto, namespaces or loopback.")] = "auto",
    record: Annotated[Path | None, typer.Option(help="A page whose last section is to tell of this run.")] = None,
    together: Annotated[
        bool, typer.Option(help="All workloads of a fault at once, on one cluster: the whole table in half an hour.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Leave out the cells that the reports in --out tell of, and add to them.")
    ] = False,
    names: Annotated[bool, typer.Option("--list", help="Show the faults and workloads there are.")] = False,
) -> None:
    """Break a cluster in every way known, under every workload, and see what its promises are worth."""
    console = Console()
    if names:
        _list(console)
        return
    try:
        cells = matrix.select(list(FAULTS), list(PLANS), only.replace(" ", "").split(","), CONTROLS)
    except matrix.UnknownName as error:
        raise typer.BadParameter(str(error)) from None
    if network not in ("auto", "namespaces", "loopback"):
        raise typer.BadParameter(f"--network is {network!r}; it must be auto, namespaces or loopback")
    place = out or Path(".broker/faults")
    place.mkdir(parents=True, exist_ok=True)
    with _alone(console):
        before = _told_before(place) if resume else []
        done = {outcome.cell for outcome in before}
        cells = [cell for cell in cells if cell not in done]
        code = _run(matrix.rows_of(cells, together=together), minutes, place, _networks(network), console, before)
    if record is not None:
        section = (place / SECTION).read_text(encoding="utf-8")
        record.write_text(recorded(record.read_text(encoding="utf-8"), section), encoding="utf-8")
    raise typer.Exit(code)


def _run(
    rows: list[list[matrix.Cell]],
    minutes: float,
    place: Path,
    new_network: Callable[[], Network],
    console: Console,
    before: list[Outcome],
) -> int:
    began = datetime.datetime.now().astimezone()
    battery = Battery(new_network, place, console)
    code = 0
    # Also where SIGINT was ignored, as in the background of a script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(battery.run(rows, minutes * 60))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (NetworkError, ClusterError) as error:
        console.print(f"[red]{error}[/]")
        code = 2
    setting = Setting(
        command=shlex.join(["python", "-m", "loadtest.faults", *sys.argv[1:]]),
        began=f"{began:%Y-%m-%d %H:%M %Z}",
        machine=f"{platform.platform()}, Python {platform.python_version()}, at the end {load_average()}",
        network=new_network().name,
        version=version("threefold"),
    )
    _write([*before, *battery.outcomes], setting, place, console)
    return 1 if any(outcome.state == "broken" for outcome in battery.outcomes) else code


def _told_before(place: Path) -> list[Outcome]:
    report = place / "report.json"
    return msgspec.json.decode(report.read_bytes(), type=list[Outcome]) if report.exists() else []


def _write(outcomes: list[Outcome], setting: Setting, place: Path, console: Console) -> None:
    (place / "report.txt").write_text(text_of(outcomes, setting), encoding="utf-8")
    (place / "report.html").write_text(page_of(outcomes, setting), encoding="utf-8")
    (place / SECTION).write_text(section_of(outcomes, setting), encoding="utf-8")
    (place / "report.json").write_bytes(msgspec.json.encode(outcomes))
    console.print(f"{summary_of(outcomes)}\nreports: {place / 'report.txt'}, {place / 'report.html'}", soft_wrap=True)


def _networks(kind: str) -> Callable[[], Network]:
    if kind == "namespaces" or (kind == "auto" and namespaces.are_permitted()):
        return namespaces.NamespaceNetwork
    return lambda: LoopbackNetwork(SEEN_PORTS)


class _alone:  # noqa: N801  # reads as a statement
    """Two runs at a time would use the same addresses. The lock goes with the process, however it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> None:
        self._handle = os.open(Path(tempfile.gettempdir()) / "threefold-faults.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._console.print("[red]another fault battery runs on this machine: wait for its end[/]")
            raise typer.Exit(2) from None

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _list(console: Console) -> None:
    for heading, entries in (("faults", FAULTS.values()), ("workloads", PLANS.values())):
        console.print(f"[bold]{heading}[/]")
        for entry in entries:
            console.print(f"  {entry.name:<14} {entry.what}", highlight=False)


if __name__ == "__main__":
    app()

"""The commands: python -m loadtest run | bench | demo.

Exit code 1 when something was lost or a target missed, 2 when it could not be run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from broker.base.errors import BrokerError
from loadtest import bench as benching
from loadtest import demo as demonstrating
from loadtest import running, workload
from loadtest.cluster import ClusterError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Load tests and the demonstration."
)

Folder = Annotated[Path | None, typer.Option(help="Keep the cluster's data and logs here, instead of removing them.")]


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="steady, burst, or a TOML file.")],
    target: Annotated[str | None, typer.Option(help="A running cluster: host:port,... Default: start one.")] = None,
    folder: Folder = None,
) -> None:
    """Run a workload and report rate, latencies, processor time, and what was lost."""
    console = Console()
    try:
        chosen = workload.load(name)
    except workload.WorkloadError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None
    _run(running.run(chosen, target, folder, console))


@app.command("bench")
def bench(
    messages: Annotated[int, typer.Option(help="Messages of each measurement.")] = 200_000, folder: Folder = None
) -> None:
    """Measure the processor time per message of a three-zone cluster."""
    _run(benching.bench(messages, folder, Console()))


@app.command("demo")
def demo(lines: Annotated[int, typer.Option(help="Lines to send.")] = 200_000, folder: Folder = None) -> None:
    """Send real text through a three-zone cluster and kill the leader's process with -9 midway."""
    _run(demonstrating.demo(lines, folder, Console()))


def _run(main: Coroutine[Any, Any, bool]) -> None:
    """Interrupted by Ctrl-C, ``main`` is cancelled first: the processes that it started end with it."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            successful = runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (BrokerError, ClusterError) as error:
        Console(stderr=True).print(f"[red]{error}[/]")
        raise typer.Exit(2) from None
    if not successful:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()

"""`broker queue redrive ...`: move dead letters back or elsewhere, watch it, stop it."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from broker.aio.system_clock import SystemClock
from broker.base.errors import MoveTaskNotFound
from broker.base.instants import SECOND
from broker.cli.console import complain, err, note, out
from broker.cli.instants import duration
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import AsJson, Cluster, QueueName, Timeout, connect
from broker.cli.running import FAILED, run
from broker.client.client import Client
from broker.client.model import Move

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

_LOOK_EVERY = 0.3
_STYLES = {"running": "cyan", "completed": "green", "cancelled": "yellow", "failed": "red"}


@app.command()
def start(
    name: QueueName,
    to: Annotated[
        str | None,
        typer.Option(metavar="QUEUE", help="A queue of the same kind.", show_default="where each came from"),
    ] = None,
    rate: Annotated[
        int | None, typer.Option(help="Messages a second: 1-500.", show_default="as fast as they are taken in")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the task and end; the move goes on.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Move the visible messages of a dead-letter queue, the oldest first, and show how far it is.

    Ctrl-C ends the showing, not the move.

    [dim]broker queue redrive start orders-dead[/dim]
    [dim]broker queue redrive start orders-dead --to orders-retry --rate 50[/dim]
    [dim]task=$(broker queue redrive start orders-dead --no-wait)[/dim]
    """

    async def work() -> int:
        async with connect(cluster, timeout) as client:
            task = await client.start_move(name, to, rate=rate)
            if no_wait:
                sys.stdout.write(f"{task}\n")
                return 0
            try:
                return _said(await _wait(client, name, task))
            except asyncio.CancelledError:
                note(f"the move goes on; stop it with `broker queue redrive cancel {task}`")
                raise

    run(work)


@app.command("list")
def list_(
    name: QueueName, as_json: AsJson = False, cluster: Cluster = DEFAULT_CLUSTER, timeout: Timeout = 10.0
) -> None:
    """Show the latest moves from a queue, the newest first.

    [dim]broker queue redrive list orders-dead[/dim]
    [dim]broker queue redrive list orders-dead --json | jq -r '.[] | select(.status == "running") | .task'[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            moves = await client.list_moves(name)
        if as_json:
            sys.stdout.write(msgspec.json.encode(moves).decode() + "\n")
        elif moves:
            out().print(table_of(moves, SystemClock().wall() / SECOND))
        else:
            note(f"nothing was moved from {name} lately; begin with `broker queue redrive start {name}`")

    run(work)


@app.command()
def cancel(
    task: Annotated[str, typer.Argument(help="As `redrive start --no-wait` and `redrive list` tell.", metavar="TASK")],
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Stop a move. What has been moved stays where it is now.

    [dim]broker queue redrive cancel "$task"[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            moved = await client.cancel_move(task)
        note(f"stopped after {moved:,} messages, which stay where they are now")

    run(work)


@app.command()
def sources(
    name: QueueName, as_json: AsJson = False, cluster: Cluster = DEFAULT_CLUSTER, timeout: Timeout = 10.0
) -> None:
    """Print the queues whose dead letters come to this one, one name a line.

    [dim]broker queue redrive sources orders-dead[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            names = await client.dead_letter_sources(name)
        if as_json:
            sys.stdout.write(msgspec.json.encode(names).decode() + "\n")
        elif names:
            sys.stdout.write("".join(f"{each}\n" for each in names))
        else:
            note(f"no queue sends its dead letters to {name}; `broker queue update QUEUE --dead-letters {name}`")

    run(work)


async def _wait(client: Client, name: str, task: str) -> Move:
    """Until the move has ended, showing how far it is."""
    console = err()
    with Progress(
        TextColumn("moving"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        shown = progress.add_task("move", total=None)
        while True:
            move = next((move for move in await client.list_moves(name) if move.task == task), None)
            if move is None:
                raise MoveTaskNotFound(f"move task {task} of queue {name} is not among its latest any more")
            progress.update(shown, completed=move.moved, total=max(move.to_move, move.moved))
            if move.status != "running":
                return move
            await asyncio.sleep(_LOOK_EVERY)


def _said(move: Move) -> int:
    """The exit code."""
    to = f"to {move.destination}" if move.destination else "back to where they came from"
    if move.status == "failed":
        complain(
            f"the move failed after {move.moved:,} messages: {move.failure}",
            "mend that, or name another queue with --to, and start it again",
        )
        return FAILED
    if move.status == "cancelled":
        note(f"the move was cancelled after {move.moved:,} messages")
        return FAILED
    note(f"moved {move.moved:,} messages {to}")
    return 0


def table_of(moves: list[Move], now: float) -> Table:
    """``now``: seconds since 1970, for ages. A task is never cut: it is there to be copied."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for move in moves:
        rate = "" if move.rate is None else f" at {move.rate:,} a second"
        facts = Text(
            f"{move.moved:,} of {move.to_move:,} messages to {move.destination or 'where they came from'}{rate}"
        )
        facts.append(f", begun {duration(max(0.0, now - move.started_at), units=1)} ago", style="dim")
        if move.failure:
            facts.append(f"\n{move.failure}", style="red")
        facts.append(f"\n{move.task}", style="dim")
        table.add_row(Text(move.status, style=_STYLES[move.status]), facts)
    return table

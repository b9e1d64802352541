"""`broker queue show`: a picture of a queue, once or again and again, or JSON."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer
from rich.live import Live
from rich.text import Text

from broker.base.errors import BrokerError, QueueNotFound
from broker.cli.console import out
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import AsJson, Cluster, QueueName, Timeout, connect
from broker.cli.picture import Seen, picture_of
from broker.cli.running import run
from broker.client.client import Client


def show(
    name: QueueName,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks, with --watch.", min=0.1)] = 1.0,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Show a picture of a queue: how much is in it, how old, whose, where dead letters go, and what needs attention.

    [dim]broker queue show orders[/dim]
    [dim]broker queue show orders --watch[/dim]
    [dim]broker queue show orders --json | jq .counts.visible[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            if watch:
                await _watch(client, name, as_json, every)
            elif as_json:
                _write_json(await _look(client, name))
            else:
                out().print(picture_of(await _look(client, name)))

    run(work)


async def _look(client: Client, name: str) -> Seen:
    queue = await client.describe_queue(name)
    census, sources, moves, dead_letters = await asyncio.gather(
        client.census(name),
        client.dead_letter_sources(name),
        client.list_moves(name),
        _dead_letters(client, queue.redrive_target),
    )
    return Seen(queue, census, sources, moves, dead_letters)


async def _dead_letters(client: Client, target: str | None) -> int | None:
    if target is None:
        return None
    try:
        counts = (await client.describe_queue(target)).counts
    except QueueNotFound:
        return None
    return counts.visible + counts.in_flight + counts.delayed


async def _watch(client: Client, name: str, as_json: bool, every: float) -> None:
    if as_json:
        while True:
            _write_json(await _look(client, name))
            await asyncio.sleep(every)
    with Live(console=out(), auto_refresh=False, screen=out().is_terminal) as live:
        while True:
            try:
                live.update(picture_of(await _look(client, name)), refresh=True)
            except BrokerError as error:
                live.update(Text(str(error), style="red"), refresh=True)
            await asyncio.sleep(every)


def _write_json(seen: Seen) -> None:
    """The queue's description, with what else there is to know beside it."""
    beside = {
        "census": seen.census,
        "dead_letters": seen.dead_letters,
        "dead_letter_sources": seen.sources,
        "moves": seen.moves,
    }
    found = msgspec.to_builtins(seen.queue) | msgspec.to_builtins(beside)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()

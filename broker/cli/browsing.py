"""`broker queue browse`: look at messages without receiving them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from broker.aio.system_clock import SystemClock
from broker.base.instants import SECOND
from broker.cli.console import note, out
from broker.cli.instants import duration, parse_past
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import AsJson, Cluster, QueueName, Timeout, connect
from broker.cli.running import run
from broker.cli.written import as_line
from broker.client.model import BrowsedMessage, State

_ROWS = 200
"""Rows of one table: they are shown as they come."""


class StateChoice(StrEnum):
    VISIBLE = "visible"
    IN_FLIGHT = "in-flight"
    DELAYED = "delayed"

    @property
    def word(self) -> State:
        words: dict[StateChoice, State] = {
            StateChoice.VISIBLE: "visible",
            StateChoice.IN_FLIGHT: "in_flight",
            StateChoice.DELAYED: "delayed",
        }
        return words[self]


_STYLES = {"visible": "green", "in_flight": "yellow", "delayed": "blue"}


def browse(
    name: QueueName,
    state: Annotated[
        list[StateChoice] | None, typer.Option(help="Only these; may be repeated.", show_default="all")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Sent then or later: 10m (ago), a date, seconds since 1970.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Sent before then.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many; 0 for all.", min=0)] = 50,
    as_json: AsJson = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Look at messages without receiving them, in the order in which they were sent.

    [dim]broker queue browse orders[/dim]
    [dim]broker queue browse orders --state in-flight --since 1h[/dim]
    [dim]broker queue browse orders-dead --limit 0 --json | jq -r .origin.queue | sort | uniq -c[/dim]
    """

    async def work() -> None:
        now = SystemClock().wall() / SECOND
        bounds = [None if text is None else parse_past(text, what, now) for text, what in times]
        async with connect(cluster, timeout) as client:
            # one more than is shown tells whether there are more
            found = client.browse(
                name,
                states=[each.word for each in state or []],
                since=bounds[0],
                until=bounds[1],
                limit=limit + 1 if limit else None,
            )
            shown = await (_write_json(found, limit) if as_json else _write_tables(found, limit, now))
        if limit and shown > limit:
            note(f"there are more; see them with --limit {limit * 10} or, all of them, --limit 0")
        elif not shown:
            note(f"queue {name} has no such message" if state or since or until else f"queue {name} is empty")

    times = ((since, "--since"), (until, "--until"))
    run(work)


async def _write_json(messages: AsyncIterator[BrowsedMessage], limit: int) -> int:
    count = 0
    try:
        async for message in messages:
            count += 1
            if not limit or count <= limit:
                sys.stdout.buffer.write(as_line(message) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # as other tools of a pipeline: end without a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return count


async def _write_tables(messages: AsyncIterator[BrowsedMessage], limit: int, now: float) -> int:
    count = 0
    rows: list[BrowsedMessage] = []
    async for message in messages:
        count += 1
        if not limit or count <= limit:
            rows.append(message)
        if len(rows) == _ROWS:
            out().print(table_of(rows, now, heading=count <= _ROWS))
            rows.clear()
            await asyncio.sleep(0)
    if rows:
        out().print(table_of(rows, now, heading=count - len(rows) <= 1))
    return count


def table_of(messages: list[BrowsedMessage], now: float, heading: bool) -> Table:
    """``now``: seconds since 1970, for ages."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=heading)
    table.add_column("id", width=36, no_wrap=True)
    table.add_column("sent", justify="right", width=12, no_wrap=True)
    table.add_column("state", width=22, no_wrap=True)
    table.add_column("received", justify="right", width=8, no_wrap=True)
    table.add_column("group", max_width=20, no_wrap=True)
    table.add_column("body", ratio=1, no_wrap=True, overflow="ellipsis")
    for message in messages:
        table.add_row(
            str(message.id),
            f"{duration(max(0.0, now - message.sent_at))} ago",
            _state(message, now),
            str(message.receive_count),
            message.message_group or "",
            _body(message),
        )
    return table


def _state(message: BrowsedMessage, now: float) -> Text:
    word = message.state.replace("_", " ")
    if message.until is not None:
        left = duration(max(0.0, message.until - now))
        word = f"due in {left}" if message.state == "delayed" else f"{word}, {left} left"
    return Text(word, style=_STYLES[message.state])


def _body(message: BrowsedMessage) -> Text:
    """In one line, as far as it is text."""
    text = message.body[:300].decode(errors="backslashreplace")
    shown = Text(" ".join(text.split()))
    if message.origin is not None:
        shown.append(f"  (from {message.origin.queue})", style="dim")
    return shown

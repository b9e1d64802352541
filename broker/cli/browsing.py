"""`broker queue browse`: look at messages without receiving them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Annotated, Literal

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
_ID, _LEAST_BODY, _GAP = 36, 12, 2
_WIDTHS = {"state": 14, "group": 12, "age": 6, "got": 3}
"""Characters; the more important first. An id is never cut: it is there to be copied."""


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

    How old each is, its state and until when, how often it was got, its message group and what is in it.

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
            _print(rows, now, heading=count <= _ROWS)
            rows.clear()
            await asyncio.sleep(0)
    if rows:
        _print(rows, now, heading=count <= _ROWS)
    return count


def _print(rows: list[BrowsedMessage], now: float, heading: bool) -> None:
    console = out()
    console.print(table_of(rows, now, console.width, heading))


def table_of(messages: list[BrowsedMessage], now: float, width: int, heading: bool = True) -> Table:
    """``now``: seconds since 1970, for ages. What is less important is left out where ``width`` has no room for it."""
    cells: dict[str, Callable[[BrowsedMessage], str | Text]] = {
        "state": lambda message: _state(message, now),
        "group": lambda message: message.message_group or "",
        "age": lambda message: duration(max(0.0, now - message.sent_at), units=1),
        "got": lambda message: str(message.receive_count),
    }
    left = width - _ID - _GAP - _LEAST_BODY
    shown: list[str] = []
    for name, wide in _WIDTHS.items():
        if left >= wide + _GAP and (name != "group" or any(message.message_group for message in messages)):
            left -= wide + _GAP
            shown.append(name)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_header=heading)
    table.add_column("id", width=_ID, no_wrap=True)
    for name in shown:
        justify: Literal["left", "right"] = "right" if name in {"age", "got"} else "left"
        table.add_column(name, width=_WIDTHS[name], no_wrap=True, overflow="ellipsis", justify=justify)
    table.add_column("body", width=_LEAST_BODY + max(0, left), no_wrap=True, overflow="ellipsis")
    for message in messages:
        table.add_row(str(message.id), *(cells[name](message) for name in shown), _body(message))
    return table


def _state(message: BrowsedMessage, now: float) -> Text:
    word = message.state.replace("_", " ")
    if message.until is not None:
        left = duration(max(0.0, message.until - now), units=1)
        word = f"due in {left}" if message.state == "delayed" else f"{word} {left}"
    return Text(word, style=_STYLES[message.state])


def _body(message: BrowsedMessage) -> Text:
    """In one line, as far as it is text."""
    text = message.body[:300].decode(errors="backslashreplace")
    shown = Text(" ".join(text.split()))
    if message.origin is not None:
        shown.append(f"  (from {message.origin.queue})", style="dim")
    return shown

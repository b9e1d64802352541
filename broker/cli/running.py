"""Runs a command's asynchronous work to an exit code: 0 done, 1 an error in one line, 130 interrupted; no traceback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from broker.aio import runner
from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError
from broker.cli.console import complain, hint_for

FAILED = 1
INTERRUPTED = 130


def run(work: Callable[[], Coroutine[Any, Any, int | None]]) -> None:
    """Raises typer.Exit unless the code is 0. Ctrl-C cancels ``work``, which has until it ends to tidy up."""
    code = runner.run(lambda stop: _interruptible(work, stop))
    if code:
        raise typer.Exit(code)


def run_until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> None:
    """For work that ends by itself once the event is set. Raises typer.Exit unless the code is 0."""

    async def reporting(stop: asyncio.Event) -> int:
        try:
            return await work(stop)
        except BrokerError as error:
            return _report(error)

    code = runner.run(reporting)
    if code:
        raise typer.Exit(code)


async def _interruptible(work: Callable[[], Coroutine[Any, Any, int | None]], stop: asyncio.Event) -> int:
    async with TaskScope("command", lambda _name, _error: None) as scope:
        working = scope.start(_reporting(work), name="work")
        stopping = scope.start(stop.wait(), name="stop")
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
        return INTERRUPTED if working.cancelled() else working.result()


async def _reporting(work: Callable[[], Coroutine[Any, Any, int | None]]) -> int:
    try:
        return await work() or 0
    except BrokerError as error:
        return _report(error)


def _report(error: BrokerError) -> int:
    complain(str(error), hint_for(error))
    return FAILED

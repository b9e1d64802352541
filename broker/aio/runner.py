"""Runs a process's asynchronous main function: the event loop, signals and exit codes, and nothing of what it does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

try:
    import uvloop

    _new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # uvloop has no wheels for Windows
    _new_event_loop = asyncio.new_event_loop

EXIT_SIGNAL_BASE = 128
"""What shells report for a process ended by signal N is this plus N."""


def run(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Runs ``main(stop)`` to its end and returns its exit code; uses uvloop where it is installed.

    The first SIGINT or SIGTERM sets ``stop``: main is to finish in order and return its code. The second one cancels
    main, and the exit code is then 128 plus the signal's number. An exception raised by main passes through.
    """
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(_supervised(main))


async def _supervised(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    this = asyncio.current_task()
    assert this is not None
    aborted_by: list[signal.Signals] = []

    def receive(number: signal.Signals) -> None:
        if stop.is_set():
            aborted_by.append(number)
            this.cancel()
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, receive, number)
    try:
        return await main(stop)
    except asyncio.CancelledError:
        if not aborted_by:
            raise
        return EXIT_SIGNAL_BASE + aborted_by[0]
    finally:
        for number in signals:
            loop.remove_signal_handler(number)

"""Exit codes and signals of a process's main function."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from broker.aio.runner import run


def test_the_exit_code_is_what_main_returns() -> None:
    async def main(stop: asyncio.Event) -> int:
        return 3

    assert run(main) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_main_to_stop(number: signal.Signals) -> None:
    async def main(stop: asyncio.Event) -> int:
        os.kill(os.getpid(), number)
        await stop.wait()
        return 0

    assert run(main) == 0


def test_the_second_signal_cancels_main_and_says_so_in_the_exit_code() -> None:
    cleaned: list[bool] = []

    async def main(stop: asyncio.Event) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)
        return 0

    assert run(main) == 128 + signal.SIGINT
    assert cleaned == [True]


def test_an_error_of_main_passes_through() -> None:
    async def main(stop: asyncio.Event) -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run(main)


def test_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    async def main(stop: asyncio.Event) -> int:
        return 0

    run(main)
    assert signal.getsignal(signal.SIGINT) is before

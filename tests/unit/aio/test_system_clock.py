"""The system clock speaks integer milliseconds."""

from __future__ import annotations

import time

from broker.aio.system_clock import SystemClock
from broker.base.instants import Clock


def test_monotonic_is_whole_milliseconds_and_agrees_with_the_system() -> None:
    clock: Clock = SystemClock()
    before, reading, after = time.monotonic(), clock.monotonic(), time.monotonic()
    assert isinstance(reading, int)
    assert int(before * 1000) - 1 <= reading <= after * 1000


def test_wall_is_milliseconds_since_the_epoch() -> None:
    clock: Clock = SystemClock()
    before, reading, after = time.time(), clock.wall(), time.time()
    assert isinstance(reading, int)
    assert int(before * 1000) - 1 <= reading <= after * 1000

"""Memory of processes, and what each further message costs."""

from __future__ import annotations

import os

import pytest

from loadtest.memory import growth_per_item, resident_bytes, resident_in

STATUS = """\
Name:\tpython
VmPeak:\t  900000 kB
VmRSS:\t  123456 kB
RssAnon:\t  100000 kB
"""


def test_the_resident_memory_is_found_in_the_status() -> None:
    assert resident_in(STATUS) == 123_456 * 1024


def test_a_process_that_has_ended_has_none() -> None:
    with pytest.raises(ProcessLookupError):
        resident_in("Name:\tpython\nState:\tZ (zombie)\n")


def test_this_process_has_some() -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("no /proc on this system")
    assert resident_bytes(os.getpid()) > 1_000_000


def test_what_is_there_without_any_message_does_not_count() -> None:
    # given a program of 100 MB, and messages of 20 bytes
    samples = [(messages, 100_000_000 + 20 * messages) for messages in range(0, 1_000_001, 250_000)]
    # then each costs its 20 bytes
    assert growth_per_item(samples) == pytest.approx(20.0)


def test_a_sample_that_is_off_moves_the_line_little() -> None:
    samples = [(messages, 20 * messages) for messages in range(0, 1_000_001, 125_000)]
    samples[4] = samples[4][0], samples[4][1] + 2_000_000
    assert growth_per_item(samples) == pytest.approx(20.0, abs=0.5)

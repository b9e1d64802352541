"""Processor time: the parts of /proc that are read, as text."""

from __future__ import annotations

import os

import pytest

from loadtest.cpu import sockets_in, ticks_in, used_us

STAT = "4711 (broker (a) x) S 1 4711 4711 0 -1 4194304 9 0 0 0 321 45 0 0 20 0 5 0 100 1 1 0 0 0 0 0 0"

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1069 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x 100 0 0 10 0
   1: 0100007F:1069 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 x 100 0 0 10 0
   2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 x 100 0 0 10 0
"""


def test_user_and_system_time_are_found_behind_any_command_name() -> None:
    assert ticks_in(STAT) == 321 + 45


def test_only_listening_sockets_of_the_asked_ports_count() -> None:
    assert sockets_in(TCP, {4201}) == {"111": 4201}


def test_this_process_has_used_some_time() -> None:
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("no /proc on this system")
    assert used_us(os.getpid()) > 0


def test_a_process_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(ProcessLookupError, match="4194305"):
        used_us(4_194_305)  # above the largest id that Linux gives

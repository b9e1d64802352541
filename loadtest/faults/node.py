"""One node, as ``broker node`` runs it, on a disk and a clock that go wrong when told to.

``python -m loadtest.faults.node [--from ADDRESS] --config FILE ...``, with what else ``broker node`` takes. What goes
wrong stands in ``FILE``'s orders (``orders.py``). It dies with the process that started it, so that no run leaves nodes
behind.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop

from broker.aio import runner, system_clock
from broker.base.instants import WallMillis
from broker.storage import disk
from loadtest.faults.disk import FaultyDisk
from loadtest.faults.orders import Standing, path_for

PROGRAM = ("loadtest.faults.node",)
"""For BrokerProcess."""
_PR_SET_PDEATHSIG = 1


class ShiftedClock(system_clock.SystemClock):
    """A wall clock that is as wrong as the orders say."""

    __slots__ = ()
    standing: Standing

    def wall(self) -> WallMillis:
        return WallMillis(super().wall() + self.standing.now.wall_shift)


def loop_calling_from(address: str) -> type[asyncio.AbstractEventLoop]:
    """An event loop whose connections come from ``address``, so that a proxy can tell whose they are."""

    class CallingLoop(uvloop.Loop):  # type: ignore[misc,unused-ignore]
        async def create_connection(self, *arguments: Any, **options: Any) -> Any:
            if len(arguments) > 1 or "host" in options:
                options.setdefault("local_addr", (address, 0))
            return await super().create_connection(*arguments, **options)

    return CallingLoop


def put(module: object, name: str, value: object) -> None:
    """Another thing under a module's name, for all who import it from there later."""
    assert hasattr(module, name)
    setattr(module, name, value)


def die_with_parent() -> None:
    """The kernel kills this process when its parent dies, however that comes about."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        raise SystemExit("whoever started this node is gone")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.faults.node", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--from", dest="source", default="")
    chosen, others = parser.parse_known_args()
    if sys.platform == "linux":
        die_with_parent()
    standing = Standing(path_for(chosen.config))
    standing.follow()
    FaultyDisk.standing = ShiftedClock.standing = standing
    put(disk, "SystemDisk", FaultyDisk)
    put(system_clock, "SystemClock", ShiftedClock)
    if chosen.source:
        put(runner, "_new_event_loop", loop_calling_from(chosen.source))
    # Only now: what the commands import by name is what was put there.
    sys.argv = ["broker", "node", "--config", str(chosen.config), *others]
    import_module("broker.__main__").main()


if __name__ == "__main__":
    main()

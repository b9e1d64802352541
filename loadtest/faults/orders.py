"""What a node under test is told to suffer from: a file beside its configuration that it looks at again and again."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec

_LOOK_EVERY_SECONDS = 0.02


class Orders(msgspec.Struct, frozen=True):
    """``sync_delay``: milliseconds that each sync takes longer. ``full``: no file grows and none is preallocated.
    ``free_bytes``: what the disk says of itself; None: the truth. ``wall_shift``: milliseconds by which the wall clock
    is wrong. ``volatile``: what is written and not synced is gone when the process is; only heeded at the start.
    ``lying``: a volatile disk says that it has synced, and has not."""

    sync_delay: float = 0.0
    full: bool = False
    free_bytes: int | None = None
    wall_shift: int = 0
    volatile: bool = False
    lying: bool = False


NOTHING = Orders()


def path_for(config: Path) -> Path:
    return config.with_suffix(".orders")


def give(config: Path, orders: Orders) -> None:
    """To the node with that configuration; it obeys within moments, and at its next start."""
    part = config.with_suffix(".orders-part")
    part.write_bytes(msgspec.json.encode(orders))
    part.rename(path_for(config))


def take(path: Path) -> Orders:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Orders)
    except FileNotFoundError:
        return NOTHING


class Standing:
    """The orders in force: ``now``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = take(path)

    def follow(self) -> None:
        """Looks for new ones, in a thread, for as long as the process lives."""
        threading.Thread(target=self._look, name="orders", daemon=True).start()

    def _look(self) -> None:
        seen = 0
        while True:
            try:
                changed = os.stat(self._path).st_mtime_ns
            except FileNotFoundError:
                changed = 0
            if changed != seen:
                seen = changed
                self.now = take(self._path)
            time.sleep(_LOOK_EVERY_SECONDS)

"""Who runs the blocking commit: a thread of its own, or the loop itself. One batch at a time, in order.

A thread keeps the loop free while the disk works (slow or busy disks, many cores); in the loop a commit costs no hop
and no contention for the interpreter lock (fast disks, few cores). Both report back in the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from broker.storage.store import Batch, Store

Done = Callable[[Batch, BaseException | None], None]


class Writer(Protocol):
    def write(self, batch: Batch) -> None: ...

    def close(self) -> None:
        """Finish what is under way. Blocking."""


class ThreadWriter:
    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        self._store = store
        self._loop = loop
        self._done = done
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="wal-writer", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        self._queue.put(batch)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            error: BaseException | None = None
            try:
                self._store.commit(batch)
            except Exception as caught:  # reported to the loop, which ends the node
                error = caught
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._done, batch, error)


class LoopWriter:
    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        self._store = store
        self._loop = loop
        self._done = done

    def write(self, batch: Batch) -> None:
        # Two turns later: what was sent in this turn must be on the wire before the loop blocks on the disk.
        self._loop.call_soon(self._loop.call_soon, self._commit, batch)

    def close(self) -> None:
        """Nothing is ever under way between turns."""

    def _commit(self, batch: Batch) -> None:
        error: BaseException | None = None
        try:
            self._store.commit(batch)
        except Exception as caught:  # reported to the engine, which ends the node
            error = caught
        self._done(batch, error)

"""How long a node's event loop stands still while it writes a snapshot of a large backlog: python -m loadtest.pauses.

One node in this process, on a real disk. A million messages lie in a queue; then writes go on while snapshots are
written, the log is compacted, and a short timer measures by how much the loop is late.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from broker.aio.system_clock import SystemClock, microseconds
from broker.aio.tasks import TaskScope
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.base.trouble import Trouble
from broker.domain.queues.commands import CreateQueue, Send
from broker.domain.queues.model import Message, QueueAttributes
from broker.node.replicas import Replicas
from broker.node.settings import NodeSettings
from broker.telemetry.metrics import Registry

GROUP, QUEUE = GroupId(1), QueueId(1)
TIMEOUT = Millis(30_000)
TICK_SECONDS = 0.001
LIMIT_MS = 50.0
NEVER = 1 << 60
SLACK = 500
"""Entries left before the snapshot falls due when the watch begins."""
SETTLE_SECONDS = 5.0
"""Enough for what follows a snapshot: forgetting dead entries, moving live ones."""


class Lateness:
    """The longest time by which a timer of one millisecond was late."""

    def __init__(self) -> None:
        self.longest_ms = 0.0

    async def watch(self) -> None:
        while True:
            started = microseconds()
            await asyncio.sleep(TICK_SECONDS)
            self.longest_ms = max(self.longest_ms, (microseconds() - started) / 1_000 - TICK_SECONDS * 1_000)


async def measure(messages: int, batch: int, snapshots: int, folder: Path) -> float:
    """Longest pause in ms while writes go on over a backlog and ``snapshots`` of it are written."""
    entries = messages // batch
    settings = NodeSettings(
        "solo",
        "a",
        data_dir=str(folder),
        groups=1,
        peer_listen="127.0.0.1:0",
        snapshot_after_entries=entries if snapshots else NEVER,
        snapshot_after_bytes=NEVER,
    )
    lateness = Lateness()
    async with TaskScope("pauses", _fail) as scope:
        replicas = Replicas(settings, SystemClock(), scope, Registry(), _fail, Trouble())
        await replicas.start()
        await replicas.groups.led(GROUP)
        await replicas.groups.propose(GROUP, "queues", CreateQueue(QUEUE, "load", QueueAttributes()), TIMEOUT)
        await send(replicas, entries - SLACK, batch)
        gc.collect()
        gc.freeze()
        scope.start(lateness.watch(), name="watch")
        await send(replicas, 2 * SLACK, batch)
        while replicas.engine.snapshots.written < snapshots:
            await send(replicas, SLACK, batch)
        await asyncio.sleep(SETTLE_SECONDS)
        await replicas.close()
    return lateness.longest_ms


async def send(replicas: Replicas, count: int, batch: int) -> None:
    body = msgspec.Raw(msgspec.msgpack.encode([Message(b"x" * 100)] * batch))
    for start in range(0, count, 64):
        sends = (
            replicas.groups.propose(GROUP, "queues", Send(QUEUE, batch, 100, None, body), TIMEOUT)
            for _ in range(min(64, count - start))
        )
        await asyncio.gather(*sends)


def _fail(what: str, error: BaseException) -> None:
    raise SystemExit(f"{what}: {error!r}")


async def main() -> None:
    table = Table("backlog", "writes alone, ms", "with a snapshot, ms", f"<= {LIMIT_MS:g} ms")
    for messages, batch in ((1_000_000, 100), (300_000, 1)):
        pauses = []
        for snapshots in (0, 1):
            with tempfile.TemporaryDirectory() as folder:
                pauses.append(await measure(messages, batch, snapshots, Path(folder)))
        verdict = "met" if pauses[1] <= LIMIT_MS else "missed"
        table.add_row(f"{messages:,} messages in entries of {batch}", *(f"{each:.1f}" for each in pauses), verdict)
    Console().print(table)


if __name__ == "__main__":
    uvloop.run(main())

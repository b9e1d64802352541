"""The fake broker in a thread with an event loop of its own, for commands, which run theirs in the main thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_broker import FakeCluster, running


class BrokerThread:
    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> FakeCluster:
        self._thread.start()
        assert self._started.wait(10)
        return self.cluster

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with running(self._nodes) as self.cluster:
            self._started.set()
            await self._stop.wait()


@contextmanager
def serving(nodes: int = 1) -> Iterator[FakeCluster]:
    with BrokerThread(nodes) as cluster:
        yield cluster


def fill(cluster: FakeCluster, name: str, *bodies: bytes) -> None:
    queue = cluster.create(name)
    for body in bodies:
        queue.send(queues_pb2.OutgoingMessage(body=body))

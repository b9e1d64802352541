"""Fills a queue, and counts what the brokers need for sending, receiving and deleting on it.

CPU is summed over all broker processes. The sender's frames are encoded once, so that filling costs the client little.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

import msgspec

from broker.client.client import Client
from loadtest import cpu
from loadtest.cluster import ClusterError, LocalCluster
from loadtest.frames import FrameSender, encoded_messages

BODY = secrets.token_bytes(1024)
FRAME_MESSAGES = 100
_OUTSTANDING = 16
_SENDERS_OF_SINGLES = 4
_OUTSTANDING_SINGLES = 60
"""Frames of one message; a stream takes no more than 64 unconfirmed ones."""
_BATCH = 250
_BATCHES_AT_ONCE = 4
"""Of receives, and of deletes."""


class Costs(msgspec.Struct, frozen=True):
    """CPU microseconds of all brokers per message."""

    send: float
    receive: float
    delete: float


def middle(costs: list[Costs]) -> Costs:
    """The median of each."""
    return Costs(*(median(getattr(each, name) for each in costs) for name in Costs.__struct_fields__))


class Filling:
    def __init__(self, cluster: LocalCluster, client: Client) -> None:
        self._cluster = cluster
        self._client = client

    async def fill(self, queue: str, count: int, per_frame: int = FRAME_MESSAGES) -> None:
        """Sends ``count`` messages; a frame becomes one entry of the log. Raises ClusterError if any was refused."""
        address = await self.leader_address(queue)
        messages = encoded_messages(BODY, per_frame)
        senders, outstanding = (1, _OUTSTANDING) if per_frame > 1 else (_SENDERS_OF_SINGLES, _OUTSTANDING_SINGLES)
        frames = -(-count // (per_frame * senders))
        streams = [FrameSender(address, queue, secrets.token_bytes(16), outstanding) for _ in range(senders)]
        await asyncio.gather(*(stream.send(messages, frames) for stream in streams))
        accepted = sum(stream.accepted for stream in streams)
        if accepted < count:
            raise ClusterError(f"{accepted:,} of {count:,} messages were accepted by queue {queue}")

    async def costs(self, queue: str, count: int) -> Costs:
        """Of ``count`` messages, which must be below the limit of messages in flight. The queue's visibility time-out
        must outlast the measurement. Afterwards the queue holds as many messages as before."""
        handles: list[bytes] = []
        batches = -(-count // _BATCH)

        async def receive() -> None:
            handles.extend([message.receipt_handle for message in await self._client.receive(queue, _BATCH)])

        async def delete(batch: list[bytes]) -> None:
            if any(await self._client.delete(queue, batch)):
                raise ClusterError(f"messages of queue {queue} could not be deleted")

        sending = await self._spent(lambda: self.fill(queue, count))
        receiving = await self._spent(lambda: some_at_once((receive() for _ in range(batches)), _BATCHES_AT_ONCE))
        if len(handles) < count:
            raise ClusterError(f"{len(handles):,} of {count:,} messages were received from queue {queue}")
        starts = range(0, len(handles), _BATCH)
        deleting = await self._spent(
            lambda: some_at_once((delete(handles[start : start + _BATCH]) for start in starts), _BATCHES_AT_ONCE)
        )
        return Costs(sending / count, receiving / count, deleting / count)

    async def leader_address(self, queue: str) -> str:
        return self._cluster.nodes[await self.leader(queue)].settings.client_listen

    async def leader(self, queue: str) -> str:
        return (await self._client.describe_queue(queue)).leader

    async def _spent(self, work: Callable[[], Awaitable[None]]) -> int:
        before = cpu.used_by(self._cluster.pids())
        await work()
        after = cpu.used_by(self._cluster.pids())
        return sum(after[node] - before[node] for node in after)


async def some_at_once(work: Iterator[Awaitable[None]], limit: int) -> None:
    """All of it, ``limit`` at a time: one iterator, from which every worker takes what is next."""

    async def worker() -> None:
        for each in work:
            await each

    await asyncio.gather(*(worker() for _ in range(limit)))

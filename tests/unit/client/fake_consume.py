"""The fake broker's side of one Consume stream: delivers as credit allows, settles, repeats deliveries."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from broker.base.errors import Unavailable
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_queue import StoredQueue, attempt
from tests.unit.client.fake_refusal import refuse


class FakeConsumeStream:
    def __init__(self, cluster: Any, speaks: asyncio.Event, queue: StoredQueue, opening: Any, context: Any) -> None:
        self._cluster = cluster
        self._speaks = speaks
        self._queue = queue
        self._sent = queue.deliveries.setdefault(opening.session, [])
        self._last_delivery = opening.last_delivery
        self._context = context
        self._credit = 0
        self._ended = False
        self._one_writer = asyncio.Lock()

    async def run(self, credit: int) -> None:
        for delivery in self._sent[self._last_delivery :]:
            await self._write(delivery)
        self._credit += credit
        reading = asyncio.ensure_future(self._read())
        try:
            while not self._ended:
                async with self._queue.changed:
                    while not self._ended and not (self._credit > 0 and self._queue.visible):
                        await self._queue.changed.wait()
                    if self._ended:
                        break
                    delivery = self._deliver()
                if self._cluster.lose_deliveries:
                    self._cluster.lose_deliveries -= 1
                    await refuse(self._context, Unavailable("the stream broke"))
                await self._speaks.wait()
                await self._write(delivery)
            await reading
        finally:
            reading.cancel()

    async def _write(self, response: queues_pb2.ConsumeResponse) -> None:
        async with self._one_writer:
            await self._context.write(response)

    def _deliver(self) -> queues_pb2.ConsumeResponse:
        messages = self._queue.receive(min(self._credit, 10))
        self._credit -= len(messages)
        delivery = queues_pb2.ConsumeResponse(delivery=len(self._sent) + 1, messages=messages)
        self._sent.append(delivery)
        return delivery

    async def _read(self) -> None:
        while (request := await self._context.read()) is not grpc.aio.EOF:
            await self._speaks.wait()
            self._cluster.consume_requests.append(request)
            actions: list[tuple[Any, ...]] = [(self._queue.delete, handle) for handle in request.acks]
            actions += [(self._queue.change, handle, 0) for handle in request.nacks]
            actions += [
                (self._queue.change, found.receipt_handle, found.visibility_timeout_ms) for found in request.extensions
            ]
            actions += [(self._queue.give_back, handle) for handle in request.returns]
            async with self._queue.changed:
                self._credit += request.credit
                failed = attempt(actions)
                self._queue.changed.notify_all()
            if request.settle:
                if self._cluster.lose_settles:
                    self._cluster.lose_settles -= 1
                    await refuse(self._context, Unavailable("the stream broke"))
                settled = queues_pb2.ConsumeResponse.Settled(settle=request.settle, failed=failed)
                await self._write(queues_pb2.ConsumeResponse(settled=[settled]))
        async with self._queue.changed:
            self._ended = True
            self._queue.changed.notify_all()

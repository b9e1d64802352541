"""One Consume stream: messages out as credit allows; acks, negative acks, extensions and returns in.

Every delivery has a number, which is also the number of the request that took its messages: a stream opened again with
the last number its client has seen first hands out what came after it and is still held. What was taken from the queue
and could not be written any more is made visible again. Credit counts messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import grpc.aio

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, InvalidArgument, OverLimit
from broker.base.instants import SECOND, Millis
from broker.base.limits import MAX_BATCH_ENTRIES, MAX_CREDIT
from broker.edge.grpc import translation
from broker.edge.grpc.calls import DEFAULT_TIMEOUT
from broker.edge.grpc.settle import settle
from broker.edge.grpc.streams import Context, OpenStreams, Surroundings, next_request, stopping
from broker.machine.envelope import RequestId
from broker.pb.queues.v1 import queues_pb2
from broker.services.receiving import Received

BATCH = 256
"""Messages of one delivery, at most."""
DELIVERIES_AHEAD = 2
"""Deliveries taken from the queue while earlier ones are still being written."""
MAX_SETTLES = 64
"""Settle requests worked on at once; further ones wait in the connection."""
WAIT = Millis(5 * SECOND)
OVER_LIMIT_PAUSE = Millis(200)
RELEASE_TIMEOUT = Millis(5 * SECOND)


class Consume:
    """Serves every Consume stream of a server."""

    def __init__(self, around: Surroundings, streams: OpenStreams) -> None:
        self._around = around
        self._streams = streams

    async def serve(self, context: Context) -> None:
        stream = _ConsumeStream(self._around, context)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)


class _ConsumeStream:
    def __init__(self, around: Surroundings, context: Context) -> None:
        self._around = around
        self._context = context
        self._queue = ""
        self._session = b""
        self._visibility_timeout: Millis | None = None
        self._number = 0
        self._credit = 0
        self._deliveries: deque[tuple[int, list[Received]]] = deque()
        self._settled: list[queues_pb2.ConsumeResponse.Settled] = []
        self._settling = 0
        self._news = asyncio.Event()
        """For the writer."""
        self._go = asyncio.Event()
        """For the pump and the reader."""
        self._pumping: asyncio.Task[None] | None = None
        self._waiting = False
        self._ending = False
        self._failure: BrokerError | None = None

    async def run(self) -> None:
        first = await self._open()
        try:
            async with TaskScope("consume", self._around.fail) as scope:
                self._pumping = self._around.afterwards.start(self._pump(first.open.last_delivery), name="deliver")
                scope.start(self._read(first), name="read")
                await self._write()
        finally:
            self._end(None)
        if self._failure is not None:
            raise self._failure

    def drain(self) -> None:
        self._end(stopping())

    async def _open(self) -> Any:
        first: Any = await next_request(self._context)
        if first is grpc.aio.EOF or not first.HasField("open"):
            raise InvalidArgument("the first request of a Consume stream carries `open`")
        opening: queues_pb2.ConsumeRequest.Open = first.open
        self._session = translation.session(opening.session)
        self._number = translation.number("last_delivery", opening.last_delivery)
        self._queue = opening.queue
        if opening.HasField("visibility_timeout_ms"):
            self._visibility_timeout = translation.visibility_timeout(opening.visibility_timeout_ms)
        await self._around.queues.must_exist(self._queue, self._deadline())
        return first

    def _end(self, error: BrokerError | None) -> None:
        """No more deliveries; what is being settled still gets its answer. The first ``error`` ends the stream."""
        if self._failure is None:
            self._failure = error
        self._ending = True
        if self._waiting and self._pumping is not None:
            self._pumping.cancel()  # it holds nothing while it waits
        self._go.set()
        self._news.set()

    # --- in

    async def _read(self, first: Any) -> None:
        """Until the client half-closes."""
        request = first
        try:
            while True:
                self._take_credit(request.credit)
                if request.settle:
                    self._settling += 1
                    self._around.afterwards.start(self._settle(request), name="settle")
                elif request.acks or request.nacks or request.extensions or request.returns:
                    raise InvalidArgument("acks, nacks, extensions and returns need a `settle` number above 0")
                while self._settling >= MAX_SETTLES:
                    self._go.clear()
                    await self._go.wait()
                request = await next_request(self._context)
                if request is grpc.aio.EOF:
                    self._end(None)
                    return
                if request.HasField("open"):
                    raise InvalidArgument("only the first request of a Consume stream carries `open`")
        except Exception as error:  # ends the stream, not the node
            self._end(self._around.table.expected(error, "reading a Consume stream"))

    def _take_credit(self, credit: int) -> None:
        if self._credit + credit > MAX_CREDIT:
            raise InvalidArgument(f"credit of {self._credit} and {credit} more passes the limit of {MAX_CREDIT}")
        if credit:
            self._credit += credit
            self._go.set()

    async def _settle(self, request: queues_pb2.ConsumeRequest) -> None:
        try:
            settled = await settle(self._around, self._queue, request, self._deadline())
        finally:
            self._settling -= 1
            self._go.set()
        self._settled.append(settled)
        self._news.set()

    # --- out

    async def _write(self) -> None:
        """What is ready, from this one task: a delivery and all answers to settle requests share a response."""
        while True:
            if not self._deliveries and not self._settled:
                if self._ending and not self._settling:
                    return
                self._news.clear()
                await self._news.wait()
                continue
            response = queues_pb2.ConsumeResponse()
            if self._settled:
                response.settled.extend(self._settled)
                self._settled.clear()
            if self._deliveries and not self._ending:
                response.delivery, messages = self._deliveries[0]
                translation.add_delivered(response, messages)
            elif not response.settled:
                return
            await self._context.write(response)
            if response.delivery:
                self._deliveries.popleft()
                self._go.set()

    async def _pump(self, last_seen: int) -> None:
        """Takes messages from the queue while there is credit. Ends with the stream, and gives back what is left."""
        try:
            await self._replay(last_seen)
            while not self._ending:
                if self._credit <= 0 or len(self._deliveries) >= DELIVERIES_AHEAD:
                    self._go.clear()
                    await self._go.wait()
                    continue
                try:
                    await self._take()
                except OverLimit:  # until some are deleted; a refusal, too, uses its number up
                    self._number += 1
                    await self._around.pause(OVER_LIMIT_PAUSE)
        except Exception as error:  # ends the stream, not the node
            self._end(self._around.table.expected(error, "delivering to a Consume stream"))
        finally:
            await self._release()

    async def _replay(self, last_seen: int) -> None:
        answer = await self._around.queues.replay(
            self._queue, self._session, last_seen, self._visibility_timeout, self._deadline()
        )
        for number, messages in answer.deliveries:
            self._deliver(number, messages)
        self._number = answer.last + 1

    async def _take(self) -> None:
        answer = await self._around.queues.receive(
            self._queue,
            min(self._credit, BATCH),
            self._deadline(),
            Millis(0),
            self._visibility_timeout,
            RequestId(self._session, self._number),
        )
        if answer.messages:
            self._deliver(self._number, answer.messages)
        if answer.used:
            self._number += 1
            return
        self._waiting = True
        try:
            if not self._ending:
                await self._around.queues.wait_for_messages(self._queue, WAIT, self._deadline())
        finally:
            self._waiting = False

    def _deliver(self, number: int, messages: list[Received]) -> None:
        self._credit -= len(messages)
        self._deliveries.append((number, messages))
        self._news.set()

    async def _release(self) -> None:
        """Make visible again, as if it had not been received, what the client can no longer be given."""
        left = [message.handle for _, messages in self._deliveries for message in messages]
        self._deliveries.clear()
        deadline = Millis(self._around.clock.monotonic() + RELEASE_TIMEOUT)
        for start in range(0, len(left), MAX_BATCH_ENTRIES):
            handles = left[start : start + MAX_BATCH_ENTRIES]
            try:
                await self._around.queues.give_back(self._queue, handles, deadline)
            except BrokerError as error:
                self._around.table.note(error, f"{len(handles)} messages of {self._queue} wait for their timeout")
                return

    def _deadline(self) -> Millis:
        return Millis(self._around.clock.monotonic() + DEFAULT_TIMEOUT)

"""One Produce stream: frames of messages in, an acknowledgement per frame out, many frames on their way at once.

Frames are stored under (session, frame number): one that comes again, on this stream or on the next, is stored once and
acknowledged again. Frames enter the log in the order in which they came, unless their leader changes meanwhile. Those
of a FIFO queue are on their way one at a time, and so keep their order whatever happens: a frame is stored only when
all before it have their final answer, here or on the session's next stream.
"""

from __future__ import annotations

import asyncio
from collections import deque

import grpc.aio

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, InvalidArgument, Overloaded
from broker.base.instants import Millis
from broker.domain.queues.model import is_fifo
from broker.edge.grpc import translation
from broker.edge.grpc.calls import DEFAULT_TIMEOUT
from broker.edge.grpc.errors import entry_errors, info_of
from broker.edge.grpc.streams import Context, OpenStreams, Surroundings, next_request, stopping
from broker.machine.envelope import RequestId
from broker.pb.queues.v1 import queues_pb2
from broker.services.sent import SendResult

WINDOW = 64
"""Frames that may be unacknowledged at once; below limits.SESSION_WINDOW, so that each one's answer is remembered."""
FIFO_WINDOW = 1
OVERLOAD_PAUSE = Millis(100)
"""A frame that was refused because the node has too much to do keeps its place in the window for so long: who sends
again at once is slowed down, and need not be refused so often."""


class Produce:
    """Serves every Produce stream of a server."""

    def __init__(self, around: Surroundings, streams: OpenStreams) -> None:
        self._around = around
        self._streams = streams

    async def serve(self, context: Context) -> None:
        stream = _ProduceStream(self._around, context)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)


class _ProduceStream:
    def __init__(self, around: Surroundings, context: Context) -> None:
        self._around = around
        self._context = context
        self._queue = ""
        self._session = b""
        self._window = WINDOW
        self._on_their_way = 0
        self._acknowledgements: deque[queues_pb2.ProduceResponse] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._failure: BrokerError | None = None

    async def run(self) -> None:
        await self._open()
        await self._context.write(queues_pb2.ProduceResponse(window=self._window))
        async with TaskScope("produce", self._around.fail) as scope:
            self._reading = scope.start(self._read(scope), name="read")
            await self._acknowledge(self._reading)
        if self._failure is not None:
            raise self._failure

    def drain(self) -> None:
        self._end(stopping())

    async def _open(self) -> None:
        first = await next_request(self._context)
        if first is grpc.aio.EOF or not first.HasField("open") or first.messages:
            raise InvalidArgument("the first request of a Produce stream carries `open`, and no messages")
        self._session = translation.session(first.open.session)
        self._queue = first.open.queue
        if is_fifo(self._queue):
            self._window = FIFO_WINDOW
        await self._around.queues.must_exist(self._queue, self._deadline())

    async def _read(self, scope: TaskScope) -> None:
        """Until the client has no more frames; a full window keeps frames waiting in the connection."""
        try:
            while (request := await next_request(self._context)) is not grpc.aio.EOF:
                if request.HasField("open") or not request.frame:
                    raise InvalidArgument("every later request of a Produce stream is a frame with a number, from 1")
                number = translation.number("frame", request.frame)
                self._on_their_way += 1
                scope.start(self._store(number, request), name="frame")
                while self._on_their_way >= self._window:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # ends the stream, not the node
            self._failure = self._around.table.expected(error, "reading a Produce stream")
        finally:
            self._news.set()

    async def _store(self, number: int, request: queues_pb2.ProduceRequest) -> None:
        response = queues_pb2.ProduceResponse(frame=number)
        try:
            self._around.queues.check_sends()
            outgoing = translation.outgoing(request.messages)
            own = RequestId(self._session, number)
            result = await self._around.queues.send(self._queue, outgoing, self._deadline(), own)
        except Exception as error:  # is the frame's answer
            response.error.CopyFrom(info_of(self._around.table.expected(error, "storing a frame")))
            overloaded = isinstance(error, Overloaded)
        else:
            _acknowledge(response, result)
            overloaded = False
        self._acknowledgements.append(response)
        self._news.set()
        if overloaded:
            await self._around.pause(OVERLOAD_PAUSE)
        self._on_their_way -= 1
        self._room.set()
        self._news.set()

    async def _acknowledge(self, reading: asyncio.Task[None]) -> None:
        """Write what is ready, from this one task, until reading has ended and every frame has its answer."""
        ready, write = self._acknowledgements, self._context.write
        while True:
            while ready:
                await write(ready.popleft())
            if self._on_their_way == 0 and (reading.done() or self._failure is not None):
                return
            self._news.clear()
            await self._news.wait()

    def _end(self, error: BrokerError) -> None:
        if self._failure is None:
            self._failure = error
        if self._reading is not None:
            self._reading.cancel()
        self._news.set()

    def _deadline(self) -> Millis:
        return Millis(self._around.clock.monotonic() + DEFAULT_TIMEOUT)


def _acknowledge(response: queues_pb2.ProduceResponse, result: SendResult) -> None:
    response.accepted = result.accepted
    first = result.first
    if first is not None:
        response.first_message_id = first.to_bytes()
        if result.fifo:
            response.first_sequence_number = next(number for number in result.sequence_numbers() if number)
    elif result.accepted:
        response.message_ids.extend(result.message_ids())
        response.sequence_numbers.extend(result.sequence_numbers())
    if result.refused:
        response.failed.extend(entry_errors(result.refused))

"""Sends messages of one queue over a Produce stream, and over the next one when that is lost.

The shell around ``outbox``: it opens streams at the queue's leader, writes frames, reads acknowledgements, and gives
up on a stream that breaks or keeps silent. No task and no timer per message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Unpack

import grpc.aio
import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, DeadlineExceeded, DiskFull, NotLeader, Overloaded, Unavailable
from broker.base.limits import MIB
from broker.client.channels import Channels, Endpoint
from broker.client.coalescing import FrameLimits
from broker.client.errors import NoAnswer, NobodyAnswers, of_call, of_info
from broker.client.locating import Locator
from broker.client.model import MessageOptions, OutgoingMessage, SentMessage, is_fifo
from broker.client.outbox import Frame, Late, Outbox, Ticket, Waiting
from broker.client.outgoing import Entry, add, entry, entry_of
from broker.client.retrying import RECONNECT, Backoff, Chance, Retry, worth_retrying
from broker.client.streams import next_response, was_cancelled
from broker.client.tickets import BatchTicket, OneTicket, all_sent, tell
from broker.pb.queues.v1 import queues_pb2

Stream = grpc.aio.StreamStreamCall[queues_pb2.ProduceRequest, queues_pb2.ProduceResponse]

_WATCH_INTERVAL = 0.1
_LONGEST_SILENCE = 10.0


class ProducerSettings(msgspec.Struct, frozen=True):
    """Seconds, and counts of messages.

    ``timeout``: how long a message may wait for its acknowledgement, over all attempts. ``silence``: how long a
    stream may owe an acknowledgement before the node counts as lost; doubles while that brings nothing.
    ``follow``: how often the node is asked whether it still leads: it would forward, which costs everybody a hop.
    ``eager_frames``: frames on their way before a frame that is not full waits for company. ``max_waiting``,
    ``max_waiting_bytes``: beyond either, ``send`` waits before it accepts a message.
    """

    timeout: float = 30.0
    silence: float = 1.5
    follow: float = 5.0
    frames: FrameLimits = FrameLimits()
    eager_frames: int = 2
    max_waiting: int = 20_000
    max_waiting_bytes: int = 32 * MIB


class Producer:
    """Made by ``Client.producer``. For one event loop; any number of tasks may send at once.

    >>> async def example(client: Client) -> None:
    ...     producer = client.producer("orders")
    ...     sent = await producer.send(b"one")              # acknowledged: on a quorum's disks
    ...     futures = [await producer.enqueue(b"more") for _ in range(1000)]
    ...     await producer.flush()                          # all acknowledged or failed
    """

    def __init__(
        self,
        queue: str,
        channels: Channels,
        locator: Locator,
        scope: TaskScope,
        chance: Chance,
        settings: ProducerSettings,
    ) -> None:
        self.queue = queue
        self._channels = channels
        self._locator = locator
        self._chance = chance
        self._settings = settings
        self._session = chance.randbytes(16)
        self._outbox = Outbox(settings.frames, settings.eager_frames, is_fifo(queue))
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._work = asyncio.Event()
        self._progress = asyncio.Event()
        self._stream: Stream | None = None
        self._address = ""
        self._silence = settings.silence
        self._gave_up: BrokerError | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._last_error: BrokerError | None = None

    # --- for callers

    async def send(self, body: bytes, **options: Unpack[MessageOptions]) -> SentMessage:
        """Returns when a quorum has the message on disk. Sends that run at once share frames. ``options``: see
        MessageOptions. What is sent to a FIFO queue is stored in the order of the calls, also over failovers.

        Raises MessageTooLong, InvalidArgument, QueueNotFound, MessageGroupRequired, DeduplicationIdRequired,
        NotForFifo, NotForStandard: nothing was stored. DiskFull, Overloaded: the broker has refused the message until
        the time was up, and it is not stored. Unavailable, DeadlineExceeded: the time is up, and the message may be
        stored nevertheless, unless the error says that it was not. Cancelling the call does not take the message back.
        """
        return await (await self.enqueue(body, **options))

    async def enqueue(self, body: bytes, **options: Unpack[MessageOptions]) -> asyncio.Future[SentMessage]:
        """Hands the message over and returns the future of its acknowledgement. Waits only while too much waits."""
        made = entry(body, options)
        while self._is_full():
            await self._next_progress()
        future: asyncio.Future[SentMessage] = self._loop.create_future()
        self._add(made, OneTicket(future), 0)
        return future

    async def send_many(self, messages: Iterable[bytes | OutgoingMessage]) -> list[SentMessage]:
        """Sends all and returns when each has its answer; in order. Any number: they travel in frames.

        Raises PartlyRefused, whose ``outcomes`` say which were refused and why; a refusal common to all as itself.
        """
        return all_sent(await (await self.enqueue_many(messages)))

    async def enqueue_many(
        self, messages: Iterable[bytes | OutgoingMessage]
    ) -> asyncio.Future[list[SentMessage | BrokerError]]:
        """Hands all over and returns one future with what became of each. Waits only while too much waits."""
        entries = [entry_of(message) for message in messages]
        future: asyncio.Future[list[SentMessage | BrokerError]] = self._loop.create_future()
        if not entries:
            future.set_result([])
        batch = BatchTicket(len(entries), future)
        for position, made in enumerate(entries):
            while self._is_full():
                await self._next_progress()
            self._add(made, batch, position)
        return future

    async def flush(self) -> None:
        """Returns when nothing waits any more: every message sent before has been acknowledged or has failed."""
        while not self._outbox.is_empty:
            await self._next_progress()

    async def close(self) -> None:
        """Flushes, then ends the stream. May be called again."""
        if self._closed:
            return
        try:
            await self.flush()
        finally:
            self._closed = True
            await self._end()

    # --- the stream

    def _add(self, made: Entry, ticket: Ticket, position: int) -> None:
        if self._closed:
            raise Unavailable(f"the producer of queue {self.queue!r} is closed")
        self._outbox.add(Waiting(made, ticket, position, self._loop.time() + self._settings.timeout))
        self._work.set()
        if self._running is None:
            self._running = self._scope.start(self._run(), name=f"produce {self.queue}")
        if self._watching is None:
            self._watching = self._loop.call_later(_WATCH_INTERVAL, self._watch)

    async def _run(self) -> None:
        try:
            retry = Retry(RECONNECT, self._chance, float("inf"))
            while True:
                await self._work.wait()
                try:
                    await self._one_stream(retry)
                except BrokerError as error:
                    self._last_error = error
                    if worth_retrying(error) and not isinstance(error, NobodyAnswers):
                        await asyncio.sleep(retry.after(error, self._loop.time()) or 0.0)
                    else:
                        self._refuse(self._outbox.clear(), error)
        except Exception as error:
            self._closed = True
            self._refuse(self._outbox.clear(), BrokerError(f"the producer failed: {error!r}"))
            raise

    async def _one_stream(self, retry: Retry) -> None:
        """Opens a stream and works with it until it is lost. Always raises, and what it raises is why."""
        endpoint = await self._locator.locate(self.queue, self._loop.time() + self._settings.timeout, self._session)
        stream: Stream = endpoint.queues.Produce()
        self._stream, self._address, self._gave_up = stream, endpoint.address, None
        beside: list[asyncio.Task[None]] = []
        try:
            window = await self._open(stream, endpoint)
            self._outbox.opened(window)
            beside.append(self._scope.start(self._write(stream), name=f"write {self.queue}"))
            beside.append(self._scope.start(self._follow(stream, endpoint), name=f"follow {self.queue}"))
            while True:
                response = await next_response(stream)
                if response is None:
                    raise Unavailable(f"{endpoint.address} ended the stream")
                self._answered(response)
                retry.succeeded()
        except grpc.aio.AioRpcError as failure:
            raise self._lost(endpoint, of_call(failure, endpoint.address)) from None
        except BrokerError as error:
            raise self._lost(endpoint, error) from None
        except asyncio.CancelledError:
            if was_cancelled():
                raise
            raise self._lost(endpoint, self._gave_up or NoAnswer(endpoint.address, "cancelled")) from None
        finally:
            self._stream = None
            self._outbox.lost()
            if not self._outbox.is_empty:
                self._work.set()
            stream.cancel()
            for task in beside:
                task.cancel()

    async def _open(self, stream: Stream, endpoint: Endpoint) -> int:
        opening = queues_pb2.ProduceRequest.Open(queue=self.queue, session=self._session)
        try:
            async with asyncio.timeout(self._settings.silence):
                with contextlib.suppress(asyncio.InvalidStateError):  # it has ended already: reading tells why
                    await stream.write(queues_pb2.ProduceRequest(open=opening))
                granted = await next_response(stream)
        except TimeoutError:
            raise NoAnswer(endpoint.address, f"no word for {self._settings.silence:g} s") from None
        if granted is None:
            raise Unavailable(f"{endpoint.address} ended the stream before it began")
        self._channels.answered(endpoint)
        return max(1, granted.window)

    async def _write(self, stream: Stream) -> None:
        outbox, work, loop = self._outbox, self._work, self._loop
        while True:
            frame = outbox.next_frame(loop.time())
            if frame is None:
                work.clear()
                await work.wait()
                continue
            self._progress.set()
            try:
                await stream.write(encode(frame))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the reader learns why

    async def _follow(self, stream: Stream, endpoint: Endpoint) -> None:
        while True:
            await asyncio.sleep(self._settings.follow)
            if await self._locator.moved(self.queue, endpoint, self._session):
                self._give_up(stream, NotLeader(f"{endpoint.address} leads queue {self.queue!r} no more"))

    def _give_up(self, stream: Stream, error: BrokerError) -> None:
        """Ends the stream for a reason that it cannot tell itself."""
        if self._gave_up is None:
            self._gave_up = error
            stream.cancel()

    def _answered(self, response: queues_pb2.ProduceResponse) -> None:
        self._silence = self._settings.silence
        if response.HasField("error"):
            error = of_info(response.error)
            if isinstance(error, NotLeader | Unavailable):
                raise error
            if worth_retrying(error):
                self._last_error = error
                if isinstance(error, Overloaded | DiskFull):
                    self._outbox.refused(response.frame, error)
                self._loop.call_later(Backoff().pause(3, self._chance), self._send_again, response.frame)
                return
            frame = self._outbox.acknowledged(response.frame)
            if frame is not None:
                self._refuse(frame.messages, error)
        else:
            frame = self._outbox.acknowledged(response.frame)
            if frame is not None:
                tell(frame, response)
        self._work.set()
        self._progress.set()

    def _send_again(self, number: int) -> None:
        self._outbox.send_again(number)
        self._work.set()

    def _lost(self, endpoint: Endpoint, error: BrokerError) -> BrokerError:
        if isinstance(error, NoAnswer | DeadlineExceeded):
            self._locator.failed(endpoint)
        else:
            self._locator.forget(self.queue)
        return error

    def _watch(self) -> None:
        """While anything waits: gives up on silent streams and on messages whose time is over."""
        now = self._loop.time()
        for late in self._outbox.expired(now):
            self._refuse(late.messages, self._too_late(late))
        stream, owed_since = self._stream, self._outbox.oldest_sent_at()
        if stream is not None and self._gave_up is None and owed_since is not None and now - owed_since > self._silence:
            self._give_up(stream, NoAnswer(self._address, f"no word for {self._silence:g} s"))
            self._silence = min(self._silence * 2, _LONGEST_SILENCE)
        again = None if self._outbox.is_empty else self._loop.call_later(_WATCH_INTERVAL, self._watch)
        self._watching = again

    def _too_late(self, late: Late) -> BrokerError:
        """What is known of messages whose time is over."""
        trouble = late.refusal or self._locator.trouble(self.queue) or self._last_error
        because = f"; the last attempt ended with: {trouble}" if trouble else ""
        outcome = "The message may be stored nevertheless" if late.perhaps else "The message was not stored"
        text = f"no acknowledgement from queue {self.queue!r} in {self._settings.timeout:g} s{because}. {outcome}"
        return DeadlineExceeded(text) if late.perhaps or late.refusal is None else type(late.refusal)(text)

    # --- bookkeeping

    def _is_full(self) -> bool:
        outbox, settings = self._outbox, self._settings
        return outbox.waiting >= settings.max_waiting or outbox.waiting_bytes >= settings.max_waiting_bytes

    async def _next_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    def _refuse(self, messages: list[Waiting], error: BrokerError) -> None:
        for waiting in messages:
            waiting.ticket.refused(waiting.position, error)
        if self._outbox.is_empty:
            self._work.clear()
        self._progress.set()

    async def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._refuse(
            self._outbox.clear(),
            Unavailable(f"the client was closed before queue {self.queue!r} acknowledged; the message may be stored"),
        )


def encode(frame: Frame) -> queues_pb2.ProduceRequest:
    request = queues_pb2.ProduceRequest(frame=frame.number)
    add((waiting.entry for waiting in frame.messages), request)
    return request

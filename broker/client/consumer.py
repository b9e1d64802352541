"""Receives messages of one queue over a Consume stream, and over the next one when that is lost.

The shell around ``inbox`` (what was delivered, and credit) and ``settling`` (what was answered). No task and no timer
per message: answers given in one turn of the event loop share one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import grpc.aio
import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, DeadlineExceeded, NotLeader, Unavailable
from broker.base.limits import MAX_BATCH_ENTRIES
from broker.client.channels import Channels, Endpoint
from broker.client.errors import NoAnswer, NobodyAnswers, of_call, of_info
from broker.client.inbox import Inbox
from broker.client.locating import Locator
from broker.client.message import Message
from broker.client.model import QueueDescription
from broker.client.retrying import RECONNECT, Backoff, Chance, Retry, worth_retrying
from broker.client.settling import RETURN, Settlement, Settler, encode
from broker.client.streams import next_response, was_cancelled
from broker.client.units import to_millis
from broker.pb.queues.v1 import queues_pb2

Stream = grpc.aio.StreamStreamCall[queues_pb2.ConsumeRequest, queues_pb2.ConsumeResponse]

_logger = logging.getLogger(__name__)

_LOCATE_TIMEOUT = 60.0


class ConsumerSettings(msgspec.Struct, frozen=True):
    """Seconds.

    ``silence``: how long a stream may owe the confirmation of acks before the node counts as lost. ``idle``: after so
    long without a word the other nodes are asked whether the stream's node still leads. ``follow``: how often it is
    asked itself: it would forward, which costs everybody a hop. ``closing``: how long ``close`` waits for answers.
    """

    silence: float = 1.5
    idle: float = 1.0
    follow: float = 5.0
    closing: float = 2.0


class Calls(Protocol):
    """What of the client's calls a consumer needs."""

    async def describe_queue(self, name: str) -> QueueDescription: ...

    async def give_back(self, queue: str, receipt_handles: Sequence[bytes]) -> list[BrokerError | None]: ...


class Consumer:
    """Made by ``Client.consume``. An asynchronous iterator of messages, for any number of tasks of one event loop.

    >>> async def example(client: Client) -> None:
    ...     async with client.consume("orders", prefetch=500) as messages:
    ...         async for message in messages:
    ...             print(message.body)
    ...             message.ack()
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        visibility_timeout: float | None,
        calls: Calls,
        channels: Channels,
        locator: Locator,
        scope: TaskScope,
        chance: Chance,
        settings: ConsumerSettings,
    ) -> None:
        self.queue = queue
        self.visibility_timeout = visibility_timeout
        """Seconds; the queue's own once the first stream is open, if none was given."""
        self._override_ms = None if visibility_timeout is None else to_millis(visibility_timeout, "visibility_timeout")
        self._calls = calls
        self._channels = channels
        self._locator = locator
        self._scope = scope
        self._chance = chance
        self._settings = settings
        self._session = chance.randbytes(16)
        self._inbox: Inbox[queues_pb2.DeliveredMessage] = Inbox(prefetch)
        self._settler = Settler()
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._arrived = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._stream: Stream | None = None
        self._gave_up: BrokerError | None = None
        self._heard_at = 0.0
        self._running: asyncio.Task[None] | None = None
        self._failure: BrokerError | None = None
        self._stopped = False
        self._ending = False
        self._closed = False

    # --- for callers

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Raises QueueNotFound and other errors that no retry can mend; ends when the consumer is stopped or closed."""
        self._start()
        while True:
            if self._stopped:
                raise StopAsyncIteration
            taken = self._inbox.take(self._loop.time())
            if self._inbox.wants_credit():
                self._work.set()
            if taken is not None:
                return Message(taken[0], taken[1], self)
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def ready(self) -> int:
        """How many messages can be taken without waiting."""
        return len(self._inbox)

    def settle(self, settlement: Settlement) -> Settlement:
        if self._closed or self._failure is not None:
            settlement.finish(self._failure or Unavailable(f"the consumer of queue {self.queue!r} is closed"))
        else:
            self._settler.add(settlement)
            self._work.set()
        return settlement

    def return_group(self, message_group: str) -> None:
        """Gives back what waits here of a message group, as if it had not been delivered."""
        for delivered in self._inbox.withdraw(lambda waiting: waiting.message_group == message_group):
            self.settle(Settlement(RETURN, delivered.receipt_handle))

    def stop(self) -> None:
        """No more messages: iteration ends. Those already taken can still be answered until ``close``."""
        self._stopped = True
        self._arrived.set()

    async def flush(self) -> None:
        """Returns when the broker has answered every ack, nack, extension and return so far."""
        while not self._settler.is_empty and self._failure is None:
            self._confirmed.clear()
            await self._confirmed.wait()

    async def close(self) -> None:
        """Confirms what was answered, gives back what nobody took, ends the stream. May be called again."""
        if self._closed:
            return
        self.stop()
        try:
            with contextlib.suppress(TimeoutError):  # what is unconfirmed by then is reported by its Settlement
                async with asyncio.timeout(self._settings.closing):
                    await self.flush()
                    await self._half_close()
        finally:
            self._closed = True
            if self._running is not None:
                self._running.cancel()
                await asyncio.wait([self._running])
            self._settler.clear(
                Unavailable(f"the consumer of queue {self.queue!r} was closed before the broker confirmed")
            )
        await self._give_back()

    # --- the stream

    def _start(self) -> None:
        if self._running is None and not self._closed:
            self._running = self._scope.start(self._run(), name=f"consume {self.queue}")

    async def _run(self) -> None:
        try:
            retry = Retry(RECONNECT, self._chance, float("inf"))
            while not self._ending or not self._settler.is_empty:
                try:
                    await self._one_stream(retry)
                except BrokerError as error:
                    if not worth_retrying(error) or isinstance(error, NobodyAnswers):
                        self._fail(error)
                        return
                    await asyncio.sleep(retry.after(error, self._loop.time()) or 0.0)
        except Exception as error:
            self._fail(BrokerError(f"the consumer failed: {error!r}"))
            raise

    async def _one_stream(self, retry: Retry) -> None:
        """Opens a stream and works with it until it ends. Raises why, unless it ended because it was asked to."""
        endpoint = await self._locator.locate(self.queue, self._loop.time() + _LOCATE_TIMEOUT, self._session)
        if self.visibility_timeout is None:
            self.visibility_timeout = (await self._calls.describe_queue(self.queue)).attributes.visibility_timeout
        stream: Stream = endpoint.queues.Consume()
        self._stream, self._gave_up, self._heard_at = stream, None, self._loop.time()
        beside: list[asyncio.Task[None]] = []
        try:
            await self._open(stream, endpoint)
            beside.append(self._scope.start(self._write(stream), name=f"settle {self.queue}"))
            beside.append(self._scope.start(self._watch(stream, endpoint), name=f"watch {self.queue}"))
            while True:
                response = await next_response(stream)
                if response is None:
                    if self._ending:
                        return
                    raise Unavailable(f"{endpoint.address} ended the stream")
                self._heard(response, endpoint)
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
            stream.cancel()
            for task in beside:
                task.cancel()

    async def _open(self, stream: Stream, endpoint: Endpoint) -> None:
        """Opens with the first credit. The broker's first word may take as long as the queue is empty."""
        self._inbox.opened()
        self._settler.opened()
        opening = queues_pb2.ConsumeRequest.Open(
            queue=self.queue,
            session=self._session,
            last_delivery=self._inbox.last_delivery,
            visibility_timeout_ms=self._override_ms,
        )
        credit = 0 if self._stopped else self._inbox.grant()
        try:
            async with asyncio.timeout(self._settings.silence):
                with contextlib.suppress(asyncio.InvalidStateError):  # it has ended already: reading tells why
                    await stream.write(queues_pb2.ConsumeRequest(open=opening, credit=credit))
        except TimeoutError:
            raise NoAnswer(endpoint.address, f"no word for {self._settings.silence:g} s") from None

    async def _write(self, stream: Stream) -> None:
        inbox, settler, work, loop = self._inbox, self._settler, self._work, self._loop
        while True:
            request = settler.next_request(loop.time())
            credit = 0 if self._stopped else inbox.grant()
            if request is None and not credit:
                if self._ending:
                    await stream.done_writing()
                    return
                work.clear()
                await work.wait()
                continue
            try:
                await stream.write(encode(request, credit))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the reader learns why

    def _heard(self, response: queues_pb2.ConsumeResponse, endpoint: Endpoint) -> None:
        now = self._heard_at = self._loop.time()
        self._channels.answered(endpoint)
        if response.messages:
            lasting = self.visibility_timeout or float("inf")
            if self._inbox.delivered(response.delivery, response.messages, now + lasting):
                self._arrived.set()
        for settled in response.settled:
            self._settled(settled)

    def _settled(self, settled: queues_pb2.ConsumeResponse.Settled) -> None:
        if settled.HasField("error"):
            error = of_info(settled.error)
            if isinstance(error, NotLeader | Unavailable):
                raise error
            if worth_retrying(error):
                self._loop.call_later(Backoff().pause(3, self._chance), self._settle_again, settled.settle)
                return
            self._settler.refused(settled.settle, error)
        else:
            self._settler.answered(
                settled.settle, {refused.entry: of_info(refused.error) for refused in settled.failed}
            )
        self._work.set()
        self._confirmed.set()

    def _settle_again(self, number: int) -> None:
        self._settler.send_again(number)
        self._work.set()

    async def _watch(self, stream: Stream, endpoint: Endpoint) -> None:
        """Ends the stream when it owes confirmations for too long, or when another node leads by now."""
        follow_at = self._loop.time() + self._settings.follow
        while self._gave_up is None:
            await asyncio.sleep(self._settings.idle / 2)
            now = self._loop.time()
            owed_since = self._settler.oldest_sent_at()
            if owed_since is not None and now - max(owed_since, self._heard_at) > self._settings.silence:
                self._gave_up = NoAnswer(endpoint.address, f"no word for {self._settings.silence:g} s")
            elif now - self._heard_at > self._settings.idle:
                self._gave_up = await self._better_than(endpoint)
            elif now > follow_at:
                follow_at = now + self._settings.follow
                if await self._locator.moved(self.queue, endpoint, self._session):
                    self._gave_up = self._moved(endpoint)
        stream.cancel()

    async def _better_than(self, endpoint: Endpoint) -> BrokerError | None:
        """Why to leave a node that has said nothing for a while; None: it has nothing to say."""
        try:
            leader = await self._locator.ask(self.queue, self._session)
        except BrokerError as error:
            return None if error.retryable else error
        return None if leader is endpoint else self._moved(endpoint)

    def _moved(self, endpoint: Endpoint) -> BrokerError:
        return NotLeader(f"{endpoint.address} leads queue {self.queue!r} no more")

    def _lost(self, endpoint: Endpoint, error: BrokerError) -> BrokerError:
        if isinstance(error, NoAnswer | DeadlineExceeded):
            self._locator.failed(endpoint)
        else:
            self._locator.forget(self.queue)
        return error

    def _fail(self, error: BrokerError) -> None:
        self._failure = error
        self._settler.clear(error)
        self._arrived.set()
        self._confirmed.set()

    # --- the end

    async def _half_close(self) -> None:
        """Has the writer say that nothing more will come, and reads what is on its way until the broker ends too."""
        self._ending = True
        self._work.set()
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _give_back(self) -> None:
        """What was delivered here and nobody took is to be visible again now, not after its visibility timeout, and is
        not to count as received."""
        handles = [delivered.receipt_handle for delivered in self._inbox.clear()]
        for start in range(0, len(handles), MAX_BATCH_ENTRIES):
            try:
                await self._calls.give_back(self.queue, handles[start : start + MAX_BATCH_ENTRIES])
            except BrokerError as error:
                _logger.warning(
                    "%d prefetched messages of queue %r stay invisible until their timeout: %s",
                    len(handles) - start,
                    self.queue,
                    error,
                )
                return

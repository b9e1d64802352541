"""Runs a handler over a consumer's messages: so many at once, kept invisible while it works, answered by outcome.

Messages of one message group of a FIFO queue are handled one after the other, in their order: what comes while one of
its group is in work waits for its turn and holds up no other group. When a handler fails, the rest of the group that is
here goes back to the queue with its message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, InvalidArgument
from broker.client.consumer import Consumer
from broker.client.message import Message

Handler = Callable[[Message], Awaitable[None]]

_MOST_PARKED = 1_000
"""Messages that wait for their turn; beyond that no more are taken until one of them had it."""

_logger = logging.getLogger(__name__)


def due(messages: dict[Message, float], now: float, visibility_timeout: float) -> list[Message]:
    """Those whose visibility timeout is more than a third over. The values say when each ends."""
    limit = now + visibility_timeout * 2 / 3
    return [message for message, expires_at in messages.items() if expires_at < limit]


class Handling:
    """One run of a handler. A fixed number of workers take messages; one timer extends for all of them."""

    def __init__(self, consumer: Consumer, handler: Handler, concurrency: int, scope: TaskScope) -> None:
        if concurrency < 1:
            raise InvalidArgument(f"concurrency is {concurrency}; it must be 1 or more handlers at a time")
        self._consumer = consumer
        self._handler = handler
        self._concurrency = concurrency
        self._scope = scope
        self._in_work: dict[Message, float] = {}
        """And those that wait for their turn."""
        self._groups: dict[str, deque[Message]] = {}
        """Message groups in work, and what waits of each."""
        self._parked = 0
        self._turn = asyncio.Event()
        self._stopping = False

    async def run(self, stop: asyncio.Event | None) -> None:
        """Until ``stop`` is set (running handlers then finish) or the task is cancelled (they are cancelled, and their
        messages given back). Raises the error that ended the consumer."""
        name = self._consumer.queue
        workers = [self._scope.start(self._work(), name=f"handle {name}") for _ in range(self._concurrency)]
        beside = [self._scope.start(self._extend(), name=f"extend {name}")]
        if stop is not None:
            beside.append(self._scope.start(self._stop_when(stop), name=f"stop {name}"))
        try:
            while workers:
                done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
                workers = [worker for worker in workers if worker not in done]
                errors = [error for worker in done if (error := worker.result()) is not None]
                if errors:
                    raise errors[0]
        finally:
            for task in workers + beside:
                task.cancel()
            if workers:
                await asyncio.wait(workers)

    async def _work(self) -> BrokerError | None:
        """What ended the consumer, or None when it was stopped."""
        try:
            async for message in self._consumer:
                group = message.message_group if message.sequence_number else None
                if group is None:
                    await self._handle(message)
                elif group in self._groups:
                    await self._park(message, self._groups[group])
                else:
                    await self._handle_group(group, message)
        except BrokerError as error:
            return error
        return None

    async def _park(self, message: Message, waiting: deque[Message]) -> None:
        waiting.append(message)
        self._in_work[message] = message.expires_at
        self._parked += 1
        while self._parked >= _MOST_PARKED:
            self._turn.clear()
            await self._turn.wait()

    async def _handle_group(self, group: str, first: Message) -> None:
        """The first message and all that come meanwhile, until none is left or one goes back."""
        waiting = self._groups[group] = deque()
        try:
            done = await self._handle(first)
            while waiting and done and not self._stopping:
                self._parked -= 1
                self._turn.set()
                done = await self._handle(waiting.popleft())
        finally:
            del self._groups[group]
            self._parked -= len(waiting)
            self._turn.set()
            for message in waiting:
                del self._in_work[message]
                message.give_back()

    async def _handle(self, message: Message) -> bool:
        """Whether it is done."""
        self._in_work[message] = message.expires_at
        try:
            await self._handler(message)
        except asyncio.CancelledError:
            message.nack()
            raise
        except Exception:
            _logger.warning("handler failed; message %s goes back to the queue", message.id, exc_info=True)
            message.nack()
            return False
        else:
            message.ack()
            return True
        finally:
            del self._in_work[message]

    async def _extend(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            visibility_timeout = self._consumer.visibility_timeout
            await asyncio.sleep(visibility_timeout / 6 if visibility_timeout else 1.0)
            if visibility_timeout:
                for message in due(self._in_work, loop.time(), visibility_timeout):
                    message.extend(visibility_timeout)
                    self._in_work[message] = message.expires_at

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._consumer.stop()

"""Runs a handler over a consumer's messages: so many at once, kept invisible while it works, answered by outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, InvalidArgument
from broker.client.consumer import Consumer
from broker.client.message import Message

Handler = Callable[[Message], Awaitable[None]]

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
                await self._handle(message)
        except BrokerError as error:
            return error
        return None

    async def _handle(self, message: Message) -> None:
        self._in_work[message] = message.expires_at
        try:
            await self._handler(message)
        except asyncio.CancelledError:
            message.nack()
            raise
        except Exception:
            _logger.warning("handler failed; message %s goes back to the queue", message.id, exc_info=True)
            message.nack()
        else:
            message.ack()
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
        self._consumer.stop()

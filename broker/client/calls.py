"""One unary call, tried until it is answered: at the right node, then at others, with pauses, until a deadline.

Safe, because every mutating request carries a RequestId: an attempt that took effect unseen is answered, not repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio

from broker.base.errors import BrokerError, DeadlineExceeded, Overloaded
from broker.client.channels import Channels, Endpoint
from broker.client.errors import NoAnswer, NobodyAnswers, of_call
from broker.client.locating import Locator
from broker.client.retrying import Backoff, Chance, Retry
from broker.pb.queues.v1 import queues_pb2

Request = TypeVar("Request")
Response = TypeVar("Response")

Method = Callable[[Endpoint], grpc.aio.UnaryUnaryMultiCallable[Request, Response]]

ATTEMPT_TIMEOUT = 1.2
"""Seconds of silence after which another node is asked."""
SILENCE = 1.0
"""Seconds without an answer that is awaited on purpose, after which the node is asked whether it is still there; it has
as long to say so."""
_HEALTH = "/grpc.health.v1.Health/Check"
_NOBODY_THERE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class Sessions:
    """Request ids. A session serves one call at a time, so the broker never has to remember more than its last."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._idle: list[queues_pb2.RequestId] = []

    @contextmanager
    def request_id(self) -> Iterator[queues_pb2.RequestId]:
        current = self._idle.pop() if self._idle else queues_pb2.RequestId(session=self._chance.randbytes(16))
        current.number += 1
        try:
            yield current
        finally:
            self._idle.append(current)


class Calling:
    """What every room of calls works with; the client is made of such rooms."""

    _caller: Caller
    _sessions: Sessions


class Caller:
    def __init__(
        self, channels: Channels, locator: Locator, chance: Chance, timeout: float, patience: float = 2.0
    ) -> None:
        """``timeout``: seconds for a call with all its attempts. ``patience``: as in Locator."""
        self._channels = channels
        self._locator = locator
        self._chance = chance
        self._timeout = timeout
        self._patience = patience
        self._preferred: Endpoint | None = None

    async def call(
        self, method: Method[Request, Response], request: Request, *, queue: str | None = None, extra: float = 0.0
    ) -> Response:
        """The first answer. ``queue``: whose leader is asked first; None: any node. ``extra``: seconds the broker may
        take on purpose, as a long poll does.

        Raises the broker's error; Unavailable or DeadlineExceeded when there is no answer in time.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        retry = Retry(Backoff(), self._chance, started + self._timeout + extra)
        while True:
            endpoint = None
            try:
                endpoint = await self._choose(queue, retry.deadline)
                left = retry.deadline - loop.time()
                call = method(endpoint)(request, timeout=max(0.001, min(left, ATTEMPT_TIMEOUT + extra)))
                response = await (self._wait_for(call, endpoint) if extra else call)
            except grpc.aio.AioRpcError as failure:
                assert endpoint is not None
                error = of_call(failure, endpoint.address)
                self._learn_from(error, endpoint, queue)
            except BrokerError as failure:
                error = failure
            else:
                self._channels.answered(endpoint)
                self._preferred = endpoint
                return response
            if self._channels.nobody_answers and loop.time() - started > self._patience:
                raise NobodyAnswers(self._channels.addresses) from None
            pause = retry.after(error, loop.time())
            if pause is None:
                raise error
            await asyncio.sleep(pause)

    async def _wait_for(self, call: grpc.aio.UnaryUnaryCall[Request, Response], endpoint: Endpoint) -> Response:
        """An answer that may take long. Raises NoAnswer when the node falls silent meanwhile: to a connection that does
        not break, that looks the same."""
        answered = asyncio.Event()
        call.add_done_callback(lambda _: answered.set())
        try:
            while not answered.is_set():
                try:
                    async with asyncio.timeout(SILENCE):
                        await answered.wait()
                except TimeoutError:
                    if not await self._is_there(endpoint) and not answered.is_set():
                        raise NoAnswer(endpoint.address, f"silent for more than {SILENCE:g} s") from None
            return await call
        finally:
            call.cancel()

    async def _is_there(self, endpoint: Endpoint) -> bool:
        """One of those who wait for the node asks it, for all of them."""
        now = asyncio.get_running_loop().time
        async with endpoint.listening:
            if endpoint.suspect or now() - endpoint.heard_at < SILENCE:
                return not endpoint.suspect
            ask: Any = endpoint.channel.unary_unary(_HEALTH)
            try:
                await ask(b"", timeout=SILENCE)
            except grpc.aio.AioRpcError as error:
                if error.code() in _NOBODY_THERE:
                    self._locator.failed(endpoint)
                    return False
            endpoint.heard_at = now()
            return True

    async def _choose(self, queue: str | None, deadline: float) -> Endpoint:
        if queue is not None:
            return await self._locator.locate(queue, deadline)
        if self._preferred is not None and not self._preferred.suspect:
            return self._preferred
        return self._channels.endpoints[0]

    def _learn_from(self, error: BrokerError, endpoint: Endpoint, queue: str | None) -> None:
        if isinstance(error, NoAnswer | DeadlineExceeded):
            self._locator.failed(endpoint)
        else:
            self._channels.answered(endpoint)
            if queue is not None and error.retryable and not isinstance(error, Overloaded):
                self._locator.forget(queue)
        self._preferred = None

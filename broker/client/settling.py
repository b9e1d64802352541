"""Answers to deliveries: acks, negative acks, extensions and returns, gathered into numbered requests.

- Everything answered since the last request goes into the next one, up to ``max_entries``.
- At most ``window`` requests are unanswered; what is settled meanwhile gathers.
- When a stream is lost, unanswered requests are sent again on the next one, in order, under their numbers.

No I/O and no clock; knows nothing of streams. A Settlement makes a future only for who awaits it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Mapping
from typing import Final

import msgspec

from broker.base.errors import BrokerError
from broker.base.limits import MAX_BATCH_ENTRIES
from broker.pb.queues.v1 import queues_pb2

ACK: Final = 0
NACK: Final = 1
EXTEND: Final = 2
RETURN: Final = 3
"""Visible again at once, as if it had not been delivered."""


class Settlement:
    """The answer to one delivery, on its way. Awaiting it is optional: it then waits for the broker's confirmation.

    Awaiting raises ReceiptHandleExpired when the message has been delivered again since; Unavailable when the consumer
    was closed before the broker confirmed.
    """

    __slots__ = ("_done", "_error", "_future", "handle", "kind", "timeout_ms")

    def __init__(self, kind: int, handle: bytes, timeout_ms: int = 0) -> None:
        self.kind = kind
        self.handle = handle
        self.timeout_ms = timeout_ms
        self._done = False
        self._error: BrokerError | None = None
        self._future: asyncio.Future[None] | None = None

    def __await__(self) -> Generator[object, None, None]:
        if not self._done:
            if self._future is None:
                self._future = asyncio.get_running_loop().create_future()
            # Shielded: several may await one settlement, and one of them being cancelled must not cancel the rest.
            yield from asyncio.shield(self._future).__await__()
        if self._error is not None:
            raise self._error

    def finish(self, error: BrokerError | None) -> None:
        self._done = True
        self._error = error
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class SettleRequest(msgspec.Struct):
    """``sent_at`` as in outbox.Frame. The broker counts entries through acks, then nacks, then extensions, then
    returns."""

    number: int
    acks: list[Settlement]
    nacks: list[Settlement]
    extensions: list[Settlement]
    returns: list[Settlement]
    sent_at: float | None = None

    def entries(self) -> list[Settlement]:
        return self.acks + self.nacks + self.extensions + self.returns


class Settler:
    def __init__(self, window: int = 2, max_entries: int = MAX_BATCH_ENTRIES) -> None:
        self._window = window
        self._max_entries = max_entries
        self._next_number = 1
        self._gathered: deque[Settlement] = deque()
        self._unanswered: dict[int, SettleRequest] = {}
        self._again: deque[SettleRequest] = deque()
        self._on_their_way = 0
        self.refused_total = 0

    @property
    def is_empty(self) -> bool:
        return not self._gathered and not self._unanswered

    def add(self, settlement: Settlement) -> None:
        self._gathered.append(settlement)

    def opened(self) -> None:
        self._on_their_way = 0
        self._again = deque(self._unanswered.values())
        for request in self._again:
            request.sent_at = None

    def next_request(self, now: float) -> SettleRequest | None:
        if self._on_their_way >= self._window:
            return None
        if self._again:
            request = self._again.popleft()
        elif self._gathered:
            request = self._gather()
        else:
            return None
        request.sent_at = now
        self._on_their_way += 1
        return request

    def answered(self, number: int, failed: Mapping[int, BrokerError]) -> None:
        """``failed``: the entries that were refused; all others are done."""
        request = self._unanswered.pop(number, None)
        if request is None:
            return
        self._leaves(request)
        self.refused_total += len(failed)
        for place, settlement in enumerate(request.entries()):
            settlement.finish(failed.get(place) if failed else None)

    def refused(self, number: int, error: BrokerError) -> None:
        """The whole request failed for good."""
        request = self._unanswered.get(number)
        if request is not None:
            self.answered(number, dict.fromkeys(range(len(request.entries())), error))

    def send_again(self, number: int) -> None:
        """The whole request failed for now."""
        request = self._unanswered.get(number)
        if request is not None and request.sent_at is not None:
            self._leaves(request)
            request.sent_at = None
            self._again.append(request)

    def oldest_sent_at(self) -> float | None:
        return min((found.sent_at for found in self._unanswered.values() if found.sent_at is not None), default=None)

    def clear(self, error: BrokerError) -> None:
        for request in self._unanswered.values():
            for settlement in request.entries():
                settlement.finish(error)
        for settlement in self._gathered:
            settlement.finish(error)
        self._unanswered.clear()
        self._gathered.clear()
        self._again.clear()
        self._on_their_way = 0

    def _gather(self) -> SettleRequest:
        request = SettleRequest(self._next_number, [], [], [], [])
        by_kind = (request.acks, request.nacks, request.extensions, request.returns)
        for _ in range(min(len(self._gathered), self._max_entries)):
            settlement = self._gathered.popleft()
            by_kind[settlement.kind].append(settlement)
        self._next_number += 1
        self._unanswered[request.number] = request
        return request

    def _leaves(self, request: SettleRequest) -> None:
        if request.sent_at is not None:
            self._on_their_way -= 1
        elif request in self._again:
            self._again.remove(request)


def encode(request: SettleRequest | None, credit: int) -> queues_pb2.ConsumeRequest:
    if request is None:
        return queues_pb2.ConsumeRequest(credit=credit)
    return queues_pb2.ConsumeRequest(
        credit=credit,
        settle=request.number,
        acks=[settlement.handle for settlement in request.acks],
        nacks=[settlement.handle for settlement in request.nacks],
        extensions=[
            queues_pb2.VisibilityChange(receipt_handle=found.handle, visibility_timeout_ms=found.timeout_ms)
            for found in request.extensions
        ],
        returns=[settlement.handle for settlement in request.returns],
    )

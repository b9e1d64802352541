"""Bulk transfers: a stream of pieces on a connection of its own, held back by the receiver, confirmed at the end.

Ordinary frames never wait behind one. The sender says a header, pieces, and the length and CRC-32C of all pieces; the
receiver answers Done after its owner took everything, or Failed with a reason. What is transferred is not known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import msgspec
from google_crc32c import extend

from broker.base.errors import BrokerError, DataCorrupt, Unavailable
from broker.base.ids import NodeId
from broker.telemetry import logs
from broker.transport.decoding import decoded
from broker.transport.frames import (
    BULK_DONE,
    BULK_END,
    BULK_FAILED,
    BULK_HEADER,
    BULK_PIECE,
    Frame,
)
from broker.transport.handshake import REASON_LIMIT
from broker.transport.peer import Connection

_log = logs.get(__name__)


class Total(msgspec.Struct, frozen=True, array_like=True):
    """The end of a transfer: bytes in all pieces and their CRC-32C."""

    length: int
    checksum: int

    def encode(self) -> bytes:
        return _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_total = msgspec.msgpack.Decoder(Total)


class BulkSender:
    """The sending side's handler. ``outcome`` is done when the receiver has confirmed or refused, or is lost."""

    def __init__(self, peer: NodeId) -> None:
        self._peer = peer
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Where the source of the pieces fails first, nobody asks for the outcome any more, and that is in order.
        self.outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())

    def frames(self, connection: Connection, frames: list[Frame]) -> None:
        for kind, payload in frames:
            if kind == BULK_DONE:
                if not self.outcome.done():
                    self.outcome.set_result(None)
                connection.close("transfer complete", announce=False)
            elif kind == BULK_FAILED:
                reason = payload[:REASON_LIMIT].decode("utf-8", "replace")
                self._fail(f"{self._peer} refused the bulk transfer: {reason}")
                connection.close("transfer refused", announce=False)
            else:
                connection.attend(kind, payload)

    def lost(self, connection: Connection) -> None:
        self._fail(f"the bulk transfer to {self._peer} was cut off: {connection.ending}")

    async def send(self, connection: Connection, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        """Raises Unavailable, or what ``pieces`` raises; then the receiver learns that there is no more to come."""
        length = checksum = 0
        try:
            await connection.send_and_drain(BULK_HEADER, header)
            async for piece in pieces:
                length += len(piece)
                checksum = extend(checksum, piece)
                if not await connection.send_and_drain(BULK_PIECE, piece):
                    break
            await connection.send_and_drain(BULK_END, Total(length, checksum).encode())
            await self.outcome
        except BaseException:
            self.outcome.cancel()
            connection.close("the sender gave up")
            raise

    def _fail(self, reason: str) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(Unavailable(reason))


class BulkReceipt:
    """The receiving side's handler, and the iterator over the pieces that its consumer reads."""

    def __init__(
        self,
        peer: NodeId,
        window: int,
        begin: Callable[[BulkReceipt, bytes], None],
        ended: Callable[[BulkReceipt], None],
    ) -> None:
        """``window``: bytes that may wait for the consumer. ``begin`` is told the header and is to run ``consume``."""
        self.peer = peer
        self._window = window
        self._begin = begin
        self._ended = ended
        self._connection: Connection | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._length = 0
        self._checksum = 0
        self._begun = False
        self._complete = False
        self._exhausted = False
        self._failure: BrokerError | None = None
        self._news = asyncio.Event()

    def frames(self, connection: Connection, frames: list[Frame]) -> None:
        self._connection = connection
        for kind, payload in frames:
            if kind == BULK_PIECE and self._begun and not self._complete:
                self._waiting.append(payload)
                self._waiting_bytes += len(payload)
                self._length += len(payload)
                self._checksum = extend(self._checksum, payload)
            elif kind == BULK_HEADER and not self._begun:
                self._begun = True
                self._begin(self, payload)
            elif kind == BULK_END and self._begun and not self._complete:
                self._verify(payload)
            else:
                connection.attend(kind, payload)
        self._news.set()
        if self._waiting_bytes >= self._window:
            connection.hold_reading(True)

    def lost(self, connection: Connection) -> None:
        if not self._complete and self._failure is None:
            self._failure = Unavailable(f"the bulk transfer from {self.peer} was cut off: {connection.ending}")
        self._news.set()
        self._ended(self)

    async def consume(self, consumer: Awaitable[None]) -> None:
        """Runs ``consumer``, which reads this iterator, and tells the sender how it went."""
        connection = self._connection
        assert connection is not None
        try:
            await consumer
        except asyncio.CancelledError:
            connection.close("this node is stopping")
            raise
        except Exception as error:  # the consumer refuses by raising: the sender is told, and nothing else here is hurt
            _log.warning("bulk transfer refused", peer=self.peer, error=type(error).__name__, reason=str(error))
            self._refuse(connection, f"{type(error).__name__}: {error}")
            return
        if not self._exhausted:
            self._refuse(connection, f"the receiver stopped reading after {self._length - self._waiting_bytes} bytes")
            return
        connection.send(BULK_DONE, b"")
        connection.close("transfer complete", announce=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._complete:
                self._exhausted = True
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        piece = self._waiting.popleft()
        self._waiting_bytes -= len(piece)
        if self._waiting_bytes < self._window // 2 and self._connection is not None:
            self._connection.hold_reading(False)
        return piece

    def _verify(self, payload: bytes) -> None:
        total = decoded(_total, payload, "the end of a bulk transfer")
        if total != Total(self._length, self._checksum):
            self._failure = DataCorrupt(
                f"a bulk transfer from {self.peer} arrived as {self._length} bytes with CRC-32C "
                f"{self._checksum:08x}, sent were {total.length} bytes with {total.checksum:08x}: send it again"
            )
        else:
            self._complete = True

    def _refuse(self, connection: Connection, reason: str) -> None:
        connection.send(BULK_FAILED, reason.encode()[:REASON_LIMIT])
        connection.close("transfer refused", announce=False)

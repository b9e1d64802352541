"""A connection that speaks HTTP/1.1: requests are read whole, answered in order, one at a time.

One task per connection, made with its first request, answers them all. When the client hangs up, the task is cancelled
wherever it is: a wait for messages ends and takes none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from broker.base.instants import Millis
from broker.edge.aws.door import STATUS_LINES, STOPPING, Door, source_ip
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.telemetry import logs

_log = logs.get(__name__)

_PIPELINED = 16
"""Requests that have arrived and wait for their turn; beyond it the connection is not read."""
_IN_A_ROW = 16
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Refused(Exception):
    """A request that is not read to its end; the connection closes with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Received:
    """A request on its way in or waiting for its turn."""

    __slots__ = ("body", "headers", "keep_alive", "method", "size", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.method = ""
        self.keep_alive = True


class Http1(asyncio.Protocol):
    def __init__(self, door: Door, scheme: str) -> None:
        self.busy = False
        self._door = door
        self._scheme = scheme
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._receiving: _Received | None = None
        self._head_bytes = 0
        self._in_head = False
        self._unparsed = 0
        """Bytes still to come of a body that the parser does not read."""
        self._stage: Millis | None = None
        self._whole: deque[_Received] = deque()
        self._refused: int | None = None
        self._source_ip = ""
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._draining = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._source_ip = source_ip(transport)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return  # what follows a refusal is not read
        if self._in_head or self._receiving is None:
            self._head_bytes += len(data)
        try:
            self._feed(data)
        except _Refused as refused:
            self._refused = refused.status
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refused = cause.status if isinstance(cause, _Refused) else 400
        if self._whole:
            self._begin()
        elif not self.busy:
            self._await_client()

    def eof_received(self) -> None:
        """The client hung up; nothing is kept half open."""

    def connection_lost(self, _error: Exception | None) -> None:
        self._door.closed(self)
        for received in (*self._whole, *([self._receiving] if self._receiving else [])):
            self._door.give_back(received.size)
        self._whole.clear()
        self._receiving = None
        if self._task is not None:
            self._task.cancel()
        self._transport = None

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # What the door calls

    def expire(self) -> None:
        if self.busy or self._receiving is None:
            self.abort()  # it does not take its answer, or has nothing to ask
        else:
            self._refused = 408
            self._await_client()

    def drain(self) -> None:
        self._draining = True
        if not self.busy and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """End what is under way, and say so: the node stops."""
        if self.busy and self._task is not None:
            self._task.cancel()

    # What the parser calls

    def on_message_begin(self) -> None:
        self._receiving = _Received()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        assert self._receiving is not None
        self._receiving.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._receiving is not None
        headers, name = self._receiving.headers, name.lower()
        if name in headers:
            value = headers[name] + b"," + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        received = self._receiving
        assert received is not None
        self._in_head = False
        self._head_bytes = 0
        received.method = self._parser.get_method().decode("latin-1")
        received.keep_alive = self._parser.should_keep_alive()
        length = received.headers.get(b"content-length")
        if length is not None and (len(length) > 12 or int(length) > self._door.limits.body_size):
            raise _Refused(413)
        if b"expect" in received.headers and not self.busy:
            transport = self._usable()
            if transport is not None and received.headers[b"expect"].lower() == b"100-continue":
                transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        received = self._receiving
        assert received is not None
        if received.size + len(body) > self._door.limits.body_size:
            raise _Refused(413)
        if not self._door.take(len(body)):
            raise _Refused(503)
        received.size += len(body)
        received.body.append(body)

    def on_message_complete(self) -> None:
        received = self._receiving
        assert received is not None
        if self._parser.should_upgrade() and not received.body:
            # The parser leaves the body of such a request to the protocol that was offered.
            if b"transfer-encoding" in received.headers:
                raise _Refused(400)
            self._unparsed = int(received.headers.get(b"content-length", b"0"))
        if not self._unparsed:
            self._whole.append(received)
            self._receiving = None

    # Reading

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                if self._unparsed:
                    data = self._feed_unparsed(data)
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # An offer to speak something else: the request is answered all the same, and the rest read as before.
                data = data[upgrade.args[0] :]
        if self._in_head and self._head_bytes > self._door.limits.head_size:
            raise _Refused(431)
        if len(self._whole) > _PIPELINED and (transport := self._usable()) is not None:
            transport.pause_reading()

    def _feed_unparsed(self, data: bytes) -> bytes:
        """What is left of it for the parser."""
        piece = data[: self._unparsed]
        self.on_body(piece)
        self._unparsed -= len(piece)
        if not self._unparsed and self._receiving is not None:
            self._whole.append(self._receiving)
            self._receiving = None
        return data[len(piece) :]

    def _await_client(self) -> None:
        """Nothing is left to be answered. The time for each stage of a request is given once, however many pieces it
        comes in."""
        if self._refused is not None:
            self._write(Document(self._refused, (), b""), close=True, has_body=True)
            return
        limits = self._door.limits
        stage = limits.idle if self._receiving is None else limits.head if self._in_head else limits.body
        if stage != self._stage:
            self._stage = stage
            self._door.await_client(self, stage)

    def _begin(self) -> None:
        self._stage = None
        self._door.heard(self)
        self.busy = True
        if self._task is None:
            self._task = self._door.scope.start(self._serve(), name="aws connection")
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # Answering

    async def _serve(self) -> None:
        answered = 0
        try:
            while self._usable() is not None:
                if self._whole:
                    await self._answer(self._whole.popleft())
                    answered += 1
                    if answered % _IN_A_ROW == 0:
                        await asyncio.sleep(0)  # answers that had nothing to wait for: others have their turn
                else:
                    await self._rest()
        except asyncio.CancelledError:
            if self._transport is None or not self._draining:
                raise  # the client hung up, or the whole node ends
            self._write(STOPPING, close=True, has_body=True)
        except Exception as error:  # a bug here ends this connection, and no other one
            _log.failure("a connection to the AWS port failed", error)
            self.abort()

    async def _answer(self, received: _Received) -> None:
        path, _, query = received.target.partition(b"?")
        body = received.body[0] if len(received.body) == 1 else b"".join(received.body)
        request = Request(
            received.method, path.decode("latin-1"), query, received.headers, body, self._scheme, self._source_ip
        )
        try:
            document = await self._door.answer(request)
        finally:
            self._door.give_back(received.size)
        close = not received.keep_alive or self._draining
        self._write(document, close, has_body=received.method != "HEAD")
        if self._writable is not None and not close:
            self._door.await_client(self, self._door.limits.writing)
            await self._writable
            self._door.heard(self)

    async def _rest(self) -> None:
        """Until there is another request."""
        self.busy = False
        self._await_client()
        transport = self._usable()
        if transport is None:
            return
        if not transport.is_reading():
            transport.resume_reading()
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake
        self._wake = None

    def _usable(self) -> asyncio.Transport | None:
        """None when the connection has ended or is ending: the event loop takes calls on such a one amiss."""
        transport = self._transport
        return None if transport is None or transport.is_closing() else transport

    def _write(self, document: Document, close: bool, has_body: bool) -> None:
        transport = self._usable()
        if transport is None:
            return
        parts = [STATUS_LINES.get(document.status) or b"HTTP/1.1 %d Error\r\n" % document.status]
        for name, value in document.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"content-length: ", str(len(document.body)).encode(), b"\r\ndate: ", self._door.date())
        parts.append(b"\r\nconnection: close\r\n\r\n" if close else b"\r\n\r\n")
        if has_body:
            parts.append(document.body)
        transport.write(b"".join(parts))
        if close:
            transport.close()

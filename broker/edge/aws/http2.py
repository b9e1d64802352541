"""A connection that speaks HTTP/2: requests are read whole and answered as they get ready, each by a task of its own.

What a client may pile up is bounded: streams at once, bytes of a head, of a body and of all bodies, resets; and a
client that does not read what is written to it is not read from either.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from broker.base.instants import Millis
from broker.base.limits import KIB, MIB
from broker.edge.aws.door import STOPPING, Door, source_ip
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.telemetry import logs

_log = logs.get(__name__)

_STREAM_WINDOW = 256 * KIB
_CONNECTION_WINDOW = 2 * MIB
_RESETS = 1_000
"""Requests that a client may give up on one connection."""


class _Stream:
    """A request on its way in."""

    __slots__ = ("body", "headers", "method", "size", "target")

    def __init__(self) -> None:
        self.method = ""
        self.target = b"/"
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.size = 0


class Http2(asyncio.Protocol):
    def __init__(self, door: Door, scheme: str) -> None:
        self._door = door
        self._scheme = scheme
        self._transport: asyncio.Transport | None = None
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._receiving: dict[int, _Stream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._unsent: dict[int, memoryview] = {}
        self._stage: Millis | None = None
        self._resets = 0
        self._incomplete = 0
        """Bytes since the last whole frame: the library keeps even those of a frame that is too long."""
        self._draining = False
        self._source_ip = ""

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._source_ip = source_ip(transport)
        initial = {
            SettingCodes.MAX_CONCURRENT_STREAMS: self._door.limits.streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: self._door.limits.head_size,
            SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            SettingCodes.ENABLE_PUSH: 0,
        }
        self._http.local_settings = Settings(client=False, initial_values=initial)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_CONNECTION_WINDOW)
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._http.receive_data(data)
            self._incomplete = 0 if events else self._incomplete + len(data)
            if self._incomplete > 2 * self._door.limits.head_size:
                raise ProtocolError("a frame is too long")
            for event in events:
                self._take(event)
            self._send_unsent()
        except ProtocolError as error:
            _log.debug("a connection to the AWS port broke HTTP/2", cause=str(error))
            self._close()
            return
        self._flush()
        self._await_client()

    def eof_received(self) -> None:
        """The client hung up; nothing is kept half open."""

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._door.closed(self)
        for stream in self._receiving.values():
            self._door.give_back(stream.size)
        self._receiving.clear()
        for task in self._tasks.values():
            task.cancel()

    def pause_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # What the door calls

    def expire(self) -> None:
        self._close()

    def drain(self) -> None:
        self._draining = True
        if not self._tasks:
            self._close()

    def give_up(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Reading

    def _take(self, event: Event) -> None:
        """What follows from other events (wider windows, other settings) is done after all of them."""
        match event:
            case RequestReceived():
                self._begin(event)
            case DataReceived():
                self._add(event)
            case StreamEnded():
                self._begin_answer(event.stream_id)
            case StreamReset():
                self._give_up_stream(event.stream_id)
            case ConnectionTerminated():
                self._draining = True

    def _begin(self, event: RequestReceived) -> None:
        if self._draining:
            self._http.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        stream = self._receiving[event.stream_id] = _Stream()
        headers = stream.headers
        for name, value in event.headers:
            if name == b":method":
                stream.method = value.decode("latin-1")
            elif name == b":path":
                stream.target = value
            elif name == b":authority":
                headers[b"host"] = value
            elif not name.startswith(b":") and not (name == b"host" and name in headers):
                headers[name] = value if name not in headers else headers[name] + b"," + value

    def _add(self, event: DataReceived) -> None:
        self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._receiving.get(event.stream_id)
        length = len(event.data)
        if stream is None:
            pass  # refused already
        elif stream.size + length > self._door.limits.body_size:
            self._refuse(event.stream_id, 413)
        elif not self._door.take(length):
            self._refuse(event.stream_id, 503)
        else:
            stream.size += length
            stream.body.append(event.data)

    def _begin_answer(self, stream_id: int) -> None:
        stream = self._receiving.pop(stream_id, None)
        if stream is not None:
            self._stage = None
            task = self._door.scope.start(self._answer(stream_id, stream), name="aws request")
            self._tasks[stream_id] = task
            # Not in the task itself: one that is cancelled before its first step does nothing at all.
            task.add_done_callback(lambda _: self._answered(stream_id, stream.size))

    def _give_up_stream(self, stream_id: int) -> None:
        self._forget(stream_id)
        task = self._tasks.get(stream_id)
        if task is not None:
            task.cancel()
        self._resets += 1
        if self._resets > _RESETS:
            raise ProtocolError("too many requests were given up")

    def _refuse(self, stream_id: int, status: int) -> None:
        self._forget(stream_id)
        self._respond(stream_id, Document(status, (), b""), has_body=True)
        with contextlib.suppress(ProtocolError):  # when the request has ended already
            self._http.reset_stream(stream_id, ErrorCodes.NO_ERROR)

    def _forget(self, stream_id: int) -> None:
        stream = self._receiving.pop(stream_id, None)
        if stream is not None:
            self._door.give_back(stream.size)
        self._unsent.pop(stream_id, None)

    def _await_client(self) -> None:
        limits = self._door.limits
        if self._unsent:
            stage: Millis | None = limits.writing
        elif self._receiving:
            stage = limits.body
        else:
            stage = None if self._tasks else limits.idle
        if stage is None:
            self._door.heard(self)
        elif stage != self._stage and self._transport is not None:
            self._door.await_client(self, stage)
        self._stage = stage

    # Answering

    async def _answer(self, stream_id: int, stream: _Stream) -> None:
        path, _, query = stream.target.partition(b"?")
        body = b"".join(stream.body)
        request = Request(
            stream.method, path.decode("latin-1"), query, stream.headers, body, self._scheme, self._source_ip
        )
        try:
            document = await self._door.answer(request)
        except asyncio.CancelledError:
            if self._transport is None or not self._draining:
                raise  # the client hung up, or the whole node ends
            document = STOPPING
        with contextlib.suppress(ProtocolError):  # the client may have closed the stream meanwhile
            self._respond(stream_id, document, has_body=stream.method != "HEAD")
        self._flush()

    def _answered(self, stream_id: int, size: int) -> None:
        self._door.give_back(size)
        del self._tasks[stream_id]
        if self._transport is None:
            return
        self._await_client()
        if self._draining and not self._tasks:
            self._close()

    def _respond(self, stream_id: int, document: Document, has_body: bool) -> None:
        headers = [
            (b":status", str(document.status).encode()),
            *document.headers,
            (b"content-length", str(len(document.body)).encode()),
            (b"date", self._door.date()),
        ]
        body = document.body if has_body else b""
        self._http.send_headers(stream_id, headers, end_stream=not body)
        if body:
            self._unsent[stream_id] = memoryview(body)
            self._send_unsent()

    def _send_unsent(self) -> None:
        """As much as the client has room for."""
        for stream_id in list(self._unsent):
            rest = self._unsent[stream_id]
            while rest:
                room = min(self._http.local_flow_control_window(stream_id), self._http.max_outbound_frame_size)
                if room <= 0:
                    break
                self._http.send_data(stream_id, bytes(rest[:room]), end_stream=len(rest) <= room)
                rest = rest[room:]
            if rest:
                self._unsent[stream_id] = rest
            else:
                del self._unsent[stream_id]
                self._stage = None

    def _flush(self) -> None:
        data = self._http.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        """With a GOAWAY, as far as the connection still takes one."""
        if self._transport is None:
            return
        with contextlib.suppress(ProtocolError):  # when it has been said already
            self._http.close_connection()
        self._flush()
        self._transport.close()

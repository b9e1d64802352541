"""One connection: bytes to frames, frames to bytes, time-outs, and the truth about how it ended.

All frames sent in one turn of the event loop leave in one write, because a wake-up of the other side costs more than
what it reads. Sending never waits: over the limit a frame is dropped and the caller told. What the frames mean is the
handler's business; a connection starts with the handler of the handshake and is then given to another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, Protocol, cast

from broker.aio.tasks import TaskScope
from broker.base.limits import KIB
from broker.transport.decoding import Malformed
from broker.transport.frames import CLOSING, HEADER_SIZE, PING, Frame, FrameBuffer, FrameError, header
from broker.transport.handshake import HELLO_LIMIT, Closing, decode_closing, encode
from broker.transport.settings import MeshSettings
from broker.transport.traffic import Traffic

_STRANGERS_CAPACITY: Final = 8 * KIB
_READ_CAPACITY: Final = 256 * KIB
_JOIN_LIMIT: Final = 128 * KIB
"""Up to here one copy into one buffer is cheaper than a vectored write of many."""
_EVERY: Final = 1 << 30
_QUIET_PERIODS: Final = 4

GONE = (ConnectionResetError, BrokenPipeError)
"""Errors by which this kernel says that the other side's kernel closed the connection."""


class Handler(Protocol):
    """What a connection tells. An exception from here ends the component, not only the connection."""

    def frames(self, connection: Connection, frames: list[Frame]) -> None:
        """At least one frame; one at a time before ``admit``. Raises FrameError or Malformed to end the connection."""

    def lost(self, connection: Connection) -> None:
        """The end, told once, at once also when this side closes. ``connection.ending`` says why, and
        ``connection.closed_by_peer`` whether the other side's process has ended."""


class Connection(asyncio.BufferedProtocol):
    """Used from the event loop only. ``remote`` is the other side's address, for logs."""

    def __init__(self, handler: Handler, settings: MeshSettings, traffic: Traffic, scope: TaskScope) -> None:
        self._handler = handler
        self._settings = settings
        self._traffic = traffic
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._buffer = FrameBuffer(HELLO_LIMIT, _STRANGERS_CAPACITY)
        self._at_once = 1
        self._transport: asyncio.Transport | None = None
        self._arriving: socket.socket | None = None
        self._outgoing: list[bytes] = []
        self._frame_limit = settings.max_frame_bytes + HEADER_SIZE
        self._room = settings.send_buffer_bytes
        self._timer = self._loop.call_later(settings.handshake_timeout / 1000, self._handshake_overdue)
        self._quiet_periods = 0
        self._wrote = False
        self._reading_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self._admitted = False
        self._gone = self._loop.create_future()
        self.open = True
        self.ending = ""
        self.ending_code = ""
        """What the other side gave for its reason, if that has a code."""
        self.closed_by_peer = False
        self.remote = "unknown"

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arriving = None
        if not self.open:
            self._transport.abort()
            return
        self.remote = _address(transport.get_extra_info("peername"))
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio's signature)
        return self._buffer.writable()

    def buffer_updated(self, nbytes: int) -> None:
        if not self.open:
            return
        self._quiet_periods = 0
        traffic = self._traffic
        traffic.reads.value += 1
        traffic.bytes_received.value += nbytes
        self._buffer.filled(nbytes)
        try:
            while self.open:
                asked = self._at_once
                frames = self._buffer.take(asked)
                if frames:
                    traffic.frames_received.value += len(frames)
                    self._handler.frames(self, frames)
                if len(frames) < asked:
                    break
        except (FrameError, Malformed) as error:
            self.close(f"malformed bytes: {error}")
        except Exception as error:
            self._fail(error)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def eof_received(self) -> bool:
        self._end(closed_by_peer=True, ending="closed by the other side")
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is None or isinstance(exc, GONE):
            self._end(closed_by_peer=True, ending="closed by the other side")
        else:
            self._end(closed_by_peer=False, ending=f"{type(exc).__name__}: {exc}")
        self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)

    # What the owner calls

    def admit(self, handler: Handler) -> None:
        """The handshake succeeded: the other side may send frames of full size, which ``handler`` gets from now on."""
        self._admitted = True
        self._handler = handler
        self._buffer.widen(self._settings.max_frame_bytes, _READ_CAPACITY)
        self._at_once = _EVERY
        self._traffic.connections.value += 1
        self._watch()

    def send(self, kind: int, payload: bytes) -> bool:
        """Queues a frame for the end of this turn. False, and the frame is dropped, if the connection is closed or
        more than ``send_buffer_bytes`` would wait. Raises ValueError if the payload is over ``max_frame_bytes``."""
        size = len(payload) + HEADER_SIZE
        if size > self._frame_limit:
            raise ValueError(
                f"a payload of {len(payload)} bytes is over the limit of {self._settings.max_frame_bytes}: "
                "split it or send it in bulk"
            )
        if size > self._room and not self._makes_room(size):
            self._traffic.frames_dropped.value += 1
            return False
        self._room -= size
        outgoing = self._outgoing
        if not outgoing:
            self._loop.call_soon(self._flush)
        outgoing.append(header(kind, payload))
        outgoing.append(payload)
        return True

    async def send_and_drain(self, kind: int, payload: bytes) -> bool:
        """Sends a frame whatever waits already, then waits until little is left to send. False if the connection is
        closed. For one task at a time, on connections where only this task sends. Raises ValueError like ``send``."""
        self._room = max(self._room, self._frame_limit)
        if self.open and self.send(kind, payload):
            self._flush()
            while self.open and self._write_paused:
                self._drained = self._loop.create_future()
                await self._drained
        return self.open

    def hold_reading(self, hold: bool) -> None:
        """Stops or goes on taking bytes from the network, to hold the sender back."""
        if self.open and self._transport is not None and hold != self._reading_paused:
            self._reading_paused = hold
            if hold:
                self._transport.pause_reading()
            else:
                self._quiet_periods = 0
                self._transport.resume_reading()

    def close(self, reason: str, *, stopping: bool = False, announce: bool = True, code: str = "") -> None:
        """Ends the connection from this side: what is queued is still sent, then why, unless ``announce`` is False.
        The other side reports ``closed_by_peer`` if this one is ``stopping``, and ``code``."""
        if not self.open:
            return
        if announce and self._admitted:
            self.send(CLOSING, encode(Closing(stopping, reason, code)))
        self._flush()
        self._end(closed_by_peer=False, ending=reason)

    def arriving(self, sock: socket.socket) -> None:
        """The TLS handshake begins on ``sock``: ``connection_made`` follows, or ``failed``."""
        self.remote = _address(sock.getpeername())
        self._arriving = sock

    def failed(self, reason: str) -> None:
        """It is not going to be made."""
        self._end(closed_by_peer=False, ending=reason)
        self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)

    def abort(self, reason: str) -> None:
        """Ends the connection from this side at once; what was queued is lost."""
        self._end(closed_by_peer=False, ending=reason)
        if self._transport is not None:
            self._transport.abort()
        elif self._arriving is not None:
            with contextlib.suppress(OSError):  # gone already
                self._arriving.shutdown(socket.SHUT_RDWR)

    async def gone(self) -> None:
        """Returns when the socket is closed."""
        await asyncio.shield(self._gone)

    def attend(self, kind: int, payload: bytes) -> None:
        """The frames that mean the same on every admitted connection. Raises FrameError for a kind that is none of
        them."""
        if kind == PING:
            return
        if kind != CLOSING:
            raise FrameError(f"unexpected frame of kind {kind}")
        closing = decode_closing(payload)
        self.ending_code = closing.code
        self._end(closed_by_peer=closing.stopping, ending=f"the other side closed: {closing.reason}")

    def peer_certificate(self) -> dict[str, object] | None:
        """What ``SSLObject.getpeercert`` tells; None without TLS."""
        assert self._transport is not None
        certificate: dict[str, object] | None = self._transport.get_extra_info("peercert")
        return certificate

    # Inside

    def _flush(self) -> None:
        outgoing, transport = self._outgoing, self._transport
        if not outgoing or transport is None:
            return
        self._outgoing = []
        if transport.is_closing():
            return
        size = sum(map(len, outgoing))
        traffic = self._traffic
        traffic.writes.value += 1
        traffic.frames_sent.value += len(outgoing) >> 1
        traffic.bytes_sent.value += size
        self._wrote = True
        if size <= _JOIN_LIMIT:
            transport.write(b"".join(outgoing))
        else:
            transport.writelines(outgoing)
        self._room = self._settings.send_buffer_bytes - transport.get_write_buffer_size()

    def _makes_room(self, size: int) -> bool:
        """The slow path of ``send``: looks at what really waits. A single frame always fits an empty buffer."""
        if self._transport is None or not self.open:
            return False
        waiting = self._transport.get_write_buffer_size() + sum(map(len, self._outgoing))
        self._room = self._settings.send_buffer_bytes - waiting
        return waiting == 0 or size <= self._room

    def _watch(self) -> None:
        """A quarter of the silence time-out has passed: says something if nothing was said, counts if nothing came."""
        self._timer.cancel()
        if not self.open:
            return
        if self._quiet_periods >= _QUIET_PERIODS and not self._reading_paused:
            self.close(f"nothing received for {self._settings.silence_timeout} ms")
            return
        self._quiet_periods += 1
        if not self._wrote:
            self.send(PING, b"")
        self._wrote = False
        self._timer = self._loop.call_later(self._settings.silence_timeout / 1000 / _QUIET_PERIODS, self._watch)

    def _handshake_overdue(self) -> None:
        missing = (
            "TLS handshake (is the certificate of the cluster's authority?)" if self._transport is None else "Hello"
        )
        self.abort(f"no {missing} within {self._settings.handshake_timeout} ms")

    def _end(self, closed_by_peer: bool, ending: str) -> None:
        if not self.open:
            return
        self.open = False
        self.ending = ending
        self.closed_by_peer = closed_by_peer
        self._room = 0
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._timer.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            # A peer that takes no more bytes must not keep the socket open for ever.
            self._timer = self._loop.call_later(self._settings.closing_timeout / 1000, self._transport.abort)
        try:
            self._handler.lost(self)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._scope.report(f"connection to {self.remote}", error)
        self.abort(f"failed: {error}")


def _address(name: object) -> str:
    """``host:port`` of what the socket says."""
    if isinstance(name, tuple) and len(name) >= 2:
        host, port = name[0], name[1]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(name)

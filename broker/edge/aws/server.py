"""The AWS port: one for all services, for HTTP/1.1 and, by prior knowledge, HTTP/2; with TLS or without.

Stopping is in order: who rests is closed, who is being answered has some time, who waits for messages is told to ask
another node.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.base.instants import SECOND, Clock, Millis
from broker.edge.aws.door import Answer, Door, Limits
from broker.edge.aws.http1 import Http1
from broker.edge.aws.http2 import Http2
from broker.telemetry.metrics import Registry

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_BACKLOG = 2_048
_SWEEP = Millis(SECOND)
_POLL = Millis(20)

Pause = Callable[[Millis], Awaitable[None]]


class AwsServerSettings(msgspec.Struct, frozen=True):
    """``listen``: host:port, port 0 for any free one. ``certificate`` and ``key``: PEM files, both or none."""

    listen: str
    certificate: Path | None = None
    key: Path | None = None
    limits: Limits = Limits()


class AwsServer:
    """``port`` is the real one once started."""

    def __init__(
        self,
        settings: AwsServerSettings,
        answer: Answer,
        clock: Clock,
        scope: TaskScope,
        registry: Registry,
        pause: Pause,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._scope = scope.child("aws")
        self._door = Door(answer, settings.limits, clock, self._scope, registry)
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def connections(self) -> int:
        return self._door.connections

    @property
    def buffered(self) -> int:
        """Bytes of requests that are being read or answered."""
        return self._door.bodies

    async def start(self) -> None:
        """Raises OSError if the address cannot be bound or a TLS file cannot be read."""
        host, port = split_address(self._settings.listen, lowest_port=0)
        context = self._tls()
        scheme = "http" if context is None else "https"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Newcomer(self._door, scheme),
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else self._settings.limits.head / SECOND,
            backlog=_BACKLOG,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._scope.start(self._sweep(), name="sweep")

    async def drain(self, grace: Millis) -> None:
        """No new connections; requests under way may end within ``grace`` ms."""
        if self._server is not None:
            self._server.close()
        self._door.drain()
        until = self._clock.monotonic() + grace
        while self._door.busy and self._clock.monotonic() < until:
            await self._pause(_POLL)
        self._door.give_up()

    async def close(self) -> None:
        """At once. May be called again, and without start."""
        if self._server is not None:
            self._server.close()
        self._door.abort()
        await self._scope.close()

    async def _sweep(self) -> None:
        while True:
            await self._pause(_SWEEP)
            self._door.expire()

    def _tls(self) -> ssl.SSLContext | None:
        certificate, key = self._settings.certificate, self._settings.key
        if certificate is None or key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1", "h2"])
        return context


class _Newcomer(asyncio.Protocol):
    """A connection that has not yet said which version it speaks."""

    def __init__(self, door: Door, scheme: str) -> None:
        self.busy = False
        self._door = door
        self._scheme = scheme
        self._transport: asyncio.Transport | None = None
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._door.opened(self)
        self._door.await_client(self, self._door.limits.idle)

    def data_received(self, data: bytes) -> None:
        self._begun += data
        if len(self._begun) < len(_PREFACE) and _PREFACE.startswith(self._begun):
            return
        transport = self._transport
        assert transport is not None
        version = Http2 if self._begun.startswith(_PREFACE) else Http1
        speaking = version(self._door, self._scheme)
        self._door.closed(self)
        self._door.opened(speaking)
        transport.set_protocol(speaking)
        speaking.connection_made(transport)
        speaking.data_received(self._begun)

    def connection_lost(self, _error: Exception | None) -> None:
        self._door.closed(self)
        self._transport = None

    def expire(self) -> None:
        self.abort()

    def drain(self) -> None:
        self.abort()

    def give_up(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

"""The AWS server on a free port of this machine, before an app that the test writes, and a client of raw bytes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from broker.aio.system_clock import SystemClock
from broker.aio.tasks import TaskScope
from broker.base.instants import SECOND, Millis
from broker.edge.aws.door import Limits
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.edge.aws.server import AwsServer, AwsServerSettings
from broker.telemetry.metrics import Registry

Answer = Callable[[Request], Awaitable[Document]]


async def pause(time: Millis) -> None:
    await asyncio.sleep(time / SECOND)


async def echo(request: Request) -> Document:
    """Says back what came."""
    line = f"{request.method} {request.path} {request.query.decode()} {request.header(b'host')} ".encode()
    return Document(200, ((b"content-type", b"text/plain"),), line + request.body)


@asynccontextmanager
async def serving(
    answer: Answer = echo, limits: Limits | None = None, certificate: Path | None = None, key: Path | None = None
) -> AsyncIterator[AwsServer]:
    failures: list[BaseException] = []
    async with TaskScope("test", lambda _name, error: failures.append(error)) as scope:
        settings = AwsServerSettings("127.0.0.1:0", certificate, key, limits or Limits())
        server = AwsServer(settings, answer, SystemClock(), scope, Registry(), pause)
        await server.start()
        try:
            yield server
        finally:
            await server.close()
    assert not failures


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def response(self, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("content-length", 0)) if has_body else 0
        return int(first.split(" ")[1]), headers, await self._reader.readexactly(length)

    async def read(self) -> bytes:
        """What is there; nothing when the server has closed."""
        try:
            return await self._reader.read(65_536)
        except ConnectionError:
            return b""

    async def ended(self) -> bool:
        """Whether nothing more comes and the server has closed."""
        return await self.read() == b""

    def hang_up(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def connected(server: AwsServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()

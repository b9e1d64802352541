"""The admin port: a small HTTP/1.1 server for probes and metrics. It answers GET, one request per connection.

Made for Prometheus, kubelets and curl on a trusted network, so it is small rather than complete: a request's head is at
most 8 KiB, bodies are not read, and a connection lives at most ten seconds, whether its client reads or not. When there
are too many, the one that has kept its request back for longest makes room. What the paths answer is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec

from broker.aio.tasks import TaskScope
from broker.telemetry import logs

_log = logs.get(__name__)

Response = tuple[int, str, bytes]
"""Status, content type, body."""
Route = Callable[[], Awaitable[Response]]

PLAIN_TEXT = "text/plain; charset=utf-8"
_HEAD_END = b"\r\n\r\n"


class AdminSettings(msgspec.Struct, frozen=True):
    """Port 0 asks the system for a free one. Sizes in bytes, times in milliseconds."""

    host: str = "127.0.0.1"
    port: int = 0
    head_limit: int = 8192
    discard_limit: int = 65_536
    connection_timeout: int = 10_000
    max_connections: int = 64


class AdminServer:
    """Serves ``routes``: path without query -> handler. ``port`` is the real one once started."""

    def __init__(self, settings: AdminSettings, routes: Mapping[str, Route], scope: TaskScope) -> None:
        self._settings = settings
        self._routes = routes
        self._scope = scope.child("admin")
        self._server: asyncio.Server | None = None
        self._asking: dict[asyncio.StreamWriter, None] = {}
        """Connections whose request is not complete yet, the oldest first."""
        self._answered: set[asyncio.StreamWriter] = set()
        self.port = settings.port

    async def start(self) -> None:
        """Raises OSError if the address cannot be bound."""
        settings = self._settings
        self._server = await asyncio.start_server(self._accept, settings.host, settings.port, limit=settings.head_limit)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and ends the connections there are."""
        if self._server is not None:
            self._server.close()
        await self._scope.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._asking) + len(self._answered) >= self._settings.max_connections:
            if not self._asking:
                writer.write(_refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections to the admin port\n"))
                writer.close()
                return
            silent = next(iter(self._asking))
            del self._asking[silent]
            silent.transport.abort()
        self._asking[writer] = None
        self._scope.start(self._serve(reader, writer), name="connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._settings.connection_timeout / 1000):
                head = await self._head(reader)
                self._asking.pop(writer, None)
                self._answered.add(writer)
                writer.write(await self._answer(head))
                await writer.drain()
                writer.write_eof()
                await self._discard(reader)
        except (OSError, asyncio.IncompleteReadError) as error:  # a time-out is an OSError, too
            _log.debug("admin connection ended early", cause=type(error).__name__)
            writer.transport.abort()  # an answer that nobody reads would be kept for as long as they like
        finally:
            self._asking.pop(writer, None)
            self._answered.discard(writer)
            writer.close()

    async def _discard(self, reader: asyncio.StreamReader) -> None:
        """Reads what is left of the request, within bounds: closing over unread bytes would reset the connection and
        could take the answer with it."""
        room = self._settings.discard_limit
        while room > 0 and (unread := await reader.read(room)):
            room -= len(unread)

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes | None:
        """None: it is over the limit."""
        try:
            return await reader.readuntil(_HEAD_END)
        except asyncio.LimitOverrunError:
            return None

    async def _answer(self, head: bytes | None) -> bytes:
        if head is None:
            limit = self._settings.head_limit
            return _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the request's head is over {limit} bytes\n")
        request_line = head.split(b"\r\n", 1)[0].split(b" ")
        if len(request_line) != 3 or not request_line[2].startswith(b"HTTP/1.") or request_line[1][:1] != b"/":
            return _refuse(HTTPStatus.BAD_REQUEST, "not an HTTP/1.1 request\n")
        method, target, _ = request_line
        path = target.decode("ascii", "replace").split("?", 1)[0]
        route = self._routes.get(path)
        if route is None:
            return _refuse(HTTPStatus.NOT_FOUND, f"no such path; there are {', '.join(sorted(self._routes))}\n")
        if method != b"GET":
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, "only GET\n", "Allow: GET\r\n")
        return await _call(path, route)


async def _call(path: str, route: Route) -> bytes:
    try:
        status, content_type, body = await route()
    except Exception as error:  # a broken page is reported and answered; the port serves the others
        _log.failure("admin page failed", error, path=path)
        return _refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed, the log says why\n")
    return _response(HTTPStatus(status), content_type, body)


def _refuse(status: HTTPStatus, message: str, extra: str = "") -> bytes:
    return _response(status, PLAIN_TEXT, message.encode(), extra)


def _response(status: HTTPStatus, content_type: str, body: bytes, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode("ascii") + body

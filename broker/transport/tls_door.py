"""A door for connections that begin with a TLS handshake. Whoever is in one can be turned out at any moment.

The event loop's own server keeps sockets in a handshake to itself until it ends; here each is known to its connection
from the first moment, so that a bound on strangers is a bound on sockets, too.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from broker.aio.tasks import TaskScope
from broker.base.instants import SECOND, Millis
from broker.transport.complaints import Complaints
from broker.transport.peer import Connection

_BACKLOG = 256
_OUT_OF_FILES_SECONDS = 0.1


class TlsDoor:
    """``make`` is called for every connection that arrives. ``port`` is the real one once opened."""

    def __init__(
        self,
        context: ssl.SSLContext,
        handshake_timeout: Millis,
        make: Callable[[], Connection],
        scope: TaskScope,
        complaints: Complaints,
    ) -> None:
        self._complaints = complaints
        self._context = context
        self._handshake_timeout = handshake_timeout
        self._make = make
        self._scope = scope
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self.port = 0

    def open(self, host: str, port: int) -> None:
        """Raises OSError if the address cannot be bound."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self._accepting = self._scope.start(self._accept(self._socket), name="accept peers")

    def close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                arrived, _ = await loop.sock_accept(listening)
            except OSError as error:  # of the caller, gone already, or of this process, out of open files
                self._complaints.say("a peer could not be let in", str(error), remote="unknown")
                await asyncio.sleep(_OUT_OF_FILES_SECONDS)
                continue
            connection = self._make()
            connection.arriving(arrived)
            self._scope.start(self._shake_hands(connection, arrived), name="TLS handshake")

    async def _shake_hands(self, connection: Connection, arrived: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: connection,
                arrived,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_timeout / SECOND,
            )
        except OSError as error:  # ssl.SSLError is one
            arrived.close()
            connection.failed(f"no TLS handshake (is the certificate of the cluster's authority?): {error}")

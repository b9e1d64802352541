"""Connections that others open to this node: a bounded number of strangers, each with a time to introduce itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Container

from broker.aio.tasks import TaskScope
from broker.transport.complaints import Complaints
from broker.transport.handshake import Acquaintances, Hello, Identity
from broker.transport.introduction import Doorman
from broker.transport.peer import Connection
from broker.transport.settings import MeshSettings
from broker.transport.tls_door import TlsDoor
from broker.transport.traffic import Traffic


class Listener:
    """Accepts, introduces, and hands over to ``accepted`` who belongs here. ``port`` is the real one once started."""

    def __init__(
        self,
        me: Identity,
        settings: MeshSettings,
        context: ssl.SSLContext | None,
        traffic: Traffic,
        scope: TaskScope,
        complaints: Complaints,
        known: Container[str],
        acquaintances: Acquaintances,
        accepted: Callable[[Connection, Hello], None],
    ) -> None:
        self._me = me
        self._settings = settings
        self._context = context
        self._traffic = traffic
        self._scope = scope
        self._complaints = complaints
        self._known = known
        self._acquaintances = acquaintances
        self._accepted = accepted
        self._strangers: dict[Connection, None] = {}
        self._server: asyncio.Server | None = None
        self._tls_door: TlsDoor | None = None
        self.port = settings.port

    async def start(self) -> None:
        """Raises OSError if the address cannot be bound."""
        settings = self._settings
        if self._context is not None:
            self._tls_door = TlsDoor(
                self._context, settings.handshake_timeout, self._connection, self._scope, self._complaints
            )
            self._tls_door.open(settings.host, settings.port)
            self.port = self._tls_door.port
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, settings.host, settings.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stops listening and turns away who has not been introduced."""
        if self._server is not None:
            self._server.close()
        if self._tls_door is not None:
            self._tls_door.close()
        strangers, self._strangers = self._strangers, {}
        for stranger in strangers:
            stranger.abort("this node is stopping")

    def _connection(self) -> Connection:
        check_certificate = self._settings.tls is not None and self._settings.tls.names_node
        doorman = Doorman(
            self._me, self._known, check_certificate, self._acquaintances, self._introduced, self._dismissed
        )
        connection = Connection(doorman, self._settings, self._traffic, self._scope)
        if len(self._strangers) >= self._settings.max_strangers:
            oldest = next(iter(self._strangers))
            oldest.abort(f"more than {self._settings.max_strangers} connections wait for their handshake")
        self._strangers[connection] = None
        return connection

    def _introduced(self, connection: Connection, hello: Hello) -> None:
        del self._strangers[connection]
        self._accepted(connection, hello)

    def _dismissed(self, connection: Connection, reason: str) -> None:
        if connection not in self._strangers:
            return  # turned away because this node stops
        del self._strangers[connection]
        self._traffic.refusals.value += 1
        self._complaints.say("connection refused", reason, remote=connection.remote)

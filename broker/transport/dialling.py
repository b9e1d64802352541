"""Connections that this node opens: one at a time for a bulk transfer, one kept open to every peer it is to call."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from functools import partial

from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.transport.backoff import Backoff
from broker.transport.complaints import Complaints
from broker.transport.handshake import Acquaintances, Identity, Purpose
from broker.transport.introduction import Caller, NotAccepted
from broker.transport.peer import Connection
from broker.transport.settings import MeshSettings
from broker.transport.traffic import Traffic


class Dialler:
    """Opens a connection and introduces this node."""

    def __init__(
        self,
        me: Identity,
        settings: MeshSettings,
        context: ssl.SSLContext | None,
        traffic: Traffic,
        scope: TaskScope,
        acquaintances: Acquaintances,
    ) -> None:
        self._me = me
        self._acquaintances = acquaintances
        self._settings = settings
        self._context = context
        self._traffic = traffic
        self._scope = scope

    async def dial(
        self, peer: str, address: str, purpose: Purpose, accepted: Callable[[Connection], None]
    ) -> Connection:
        """Returns once ``peer`` has shown that it is who it should be; ``accepted`` was called before, in the turn
        when that happened. Raises NotAccepted, OSError (ConnectionError, ssl.SSLError) or TimeoutError."""
        settings = self._settings
        check_certificate = settings.tls is not None and settings.tls.names_node
        caller = Caller(self._me, peer, purpose, check_certificate, self._acquaintances, accepted)
        host, port = split_address(address)
        connection = Connection(caller, settings, self._traffic, self._scope)
        try:
            async with asyncio.timeout(settings.connect_timeout / 1000):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    host,
                    port,
                    ssl=self._context,
                    server_hostname=host if self._context is not None else None,
                )
            caller.greet(connection)
            await caller.outcome
        except NotAccepted:
            self._traffic.refusals.value += 1
            raise
        except BaseException:
            caller.outcome.cancel()
            connection.abort("could not be established")
            raise
        return connection


async def keep_dialled(
    dialler: Dialler,
    peer: str,
    address: Callable[[], str],
    accepted: Callable[[Connection], None],
    backoff: Backoff,
    complaints: Complaints,
    settled_after: float,
) -> None:
    """Keeps a control connection to ``peer`` open until cancelled. A connection that held for ``settled_after``
    seconds earns a quick return; one that breaks sooner does not, so that nobody is dialled in a storm."""
    while True:
        try:
            connection = await dialler.dial(peer, address(), "control", accepted)
        except (NotAccepted, OSError, TimeoutError) as error:
            complaints.say("cannot connect", str(error) or "no answer in time", peer=peer, remote=address())
        else:
            try:
                # Not asyncio.wait_for, which on Python 3.11 can lose a cancellation that comes with the end.
                async with asyncio.timeout(settled_after):
                    await connection.gone()
            except TimeoutError:
                backoff.reset()
                await connection.gone()
        await asyncio.sleep(backoff.next() / 1000)


async def knock_while_alone(
    dialler: Dialler,
    peers: Callable[[], list[tuple[str, str]]],
    alone: Callable[[], bool],
    accepted: Callable[[str, Connection], None],
    every: float,
) -> None:
    """Calls on those who are to dial this node, every so many seconds while nobody is connected with it, until
    cancelled. Who still knows it refuses, because it is its own turn to dial; who does not says so. Without that a node
    that dials nobody would not hear that it was removed while it was away."""
    while True:
        await asyncio.sleep(every)
        for peer, address in peers():
            if alone():
                with contextlib.suppress(NotAccepted, OSError, TimeoutError):
                    await dialler.dial(peer, address, "control", partial(accepted, peer))

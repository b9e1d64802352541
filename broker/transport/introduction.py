"""The handshake carried out over a connection, one handler for each side. What is judged is in ``handshake``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

from broker.transport.frames import HELLO, READY, REFUSED, Frame, FrameError
from broker.transport.handshake import (
    Acquaintances,
    Hello,
    Identity,
    Purpose,
    decode_hello,
    decode_refused,
    encode,
    greeting,
    objection,
    recollection,
)
from broker.transport.peer import Connection
from broker.transport.tls import certified_nodes


class NotAccepted(Exception):
    """The handshake ended with a refusal by either side. ``str`` says who refused and why."""


class Caller:
    """The dialling side. ``outcome`` is done when the handshake is: None, NotAccepted or ConnectionError.

    ``accepted`` is called first, within the same turn, to ``admit`` the connection: the next bytes are its business.
    """

    def __init__(
        self,
        me: Identity,
        peer: str,
        purpose: Purpose,
        check_certificate: bool,
        acquaintances: Acquaintances,
        accepted: Callable[[Connection], None],
    ) -> None:
        self._me = me
        self._acquaintances = acquaintances
        self._peer = peer
        self._purpose = purpose
        self._check_certificate = check_certificate
        self._accepted = accepted
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def greet(self, connection: Connection) -> None:
        """Begins, once connected."""
        connection.send(
            HELLO, encode(greeting(self._me, self._peer, self._purpose, self._acquaintances.remembered(self._peer)))
        )

    def frames(self, connection: Connection, frames: list[Frame]) -> None:
        [(kind, payload)] = frames
        if kind == REFUSED:
            refused = decode_refused(payload)
            self._acquaintances.refused(self._peer, refused.code, refused.reason)
            self._fail(NotAccepted(f"{self._peer} refused this node, {refused.code}: {refused.reason}"))
            connection.close("refused", announce=False)
        elif kind == HELLO:
            self._judge(connection, decode_hello(payload))
        else:
            raise FrameError(f"expected a Hello, got a frame of kind {kind}")

    def lost(self, connection: Connection) -> None:
        self._fail(
            ConnectionError(f"{connection.ending} before the handshake was done: the log of {self._peer} says why")
        )

    def _judge(self, connection: Connection, hello: Hello) -> None:
        certified = certified_nodes(connection.peer_certificate()) if self._check_certificate else None
        refused = objection(hello, self._me, {self._peer}, "dialling", certified)
        if refused is None:
            refused = recollection(hello, self._acquaintances)
        if refused is not None:
            self._fail(NotAccepted(f"this node refused {self._peer}, {refused.code}: {refused.reason}"))
            connection.send(REFUSED, encode(refused))
            connection.close("refused", announce=False)
            return
        connection.send(READY, b"")
        self._acquaintances.met(self._peer, hello.life)
        self._accepted(connection)
        if not self.outcome.done():
            self.outcome.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Doorman:
    """The accepting side. ``accepted`` is called with who is there, to ``admit`` the connection."""

    def __init__(
        self,
        me: Identity,
        known: Container[str],
        check_certificate: bool,
        acquaintances: Acquaintances,
        accepted: Callable[[Connection, Hello], None],
        dismissed: Callable[[Connection, str], None],
    ) -> None:
        """``dismissed`` is told every connection that ends before it is accepted, and why."""
        self._me = me
        self._known = known
        self._check_certificate = check_certificate
        self._acquaintances = acquaintances
        self._accepted = accepted
        self._dismissed = dismissed
        self._hello: Hello | None = None

    def frames(self, connection: Connection, frames: list[Frame]) -> None:
        [(kind, payload)] = frames
        if self._hello is None:
            if kind != HELLO:
                raise FrameError(f"expected a Hello, got a frame of kind {kind}")
            self._judge(connection, decode_hello(payload))
        elif kind == READY:
            self._acquaintances.met(self._hello.node, self._hello.life)
            self._accepted(connection, self._hello)
        elif kind == REFUSED:
            refused = decode_refused(payload)
            self._acquaintances.refused(self._hello.node, refused.code, refused.reason)
            connection.close(f"{self._hello.node} refused this node, {refused.code}: {refused.reason}", announce=False)
        else:
            raise FrameError(f"expected Ready, got a frame of kind {kind}")

    def lost(self, connection: Connection) -> None:
        self._dismissed(connection, connection.ending)

    def _judge(self, connection: Connection, hello: Hello) -> None:
        certified = certified_nodes(connection.peer_certificate()) if self._check_certificate else None
        refused = objection(hello, self._me, self._known, "accepting", certified)
        if refused is None:
            refused = recollection(hello, self._acquaintances)
        if refused is not None:
            connection.send(REFUSED, encode(refused))
            connection.close(f"{refused.code}: {refused.reason}", announce=False)
            return
        self._hello = hello
        remembered = self._acquaintances.remembered(hello.node)
        connection.send(HELLO, encode(greeting(self._me, hello.node, hello.purpose, remembered)))

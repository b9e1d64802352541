"""The handler of an established control connection: hands payloads up, and the end."""

from __future__ import annotations

from collections.abc import Callable

from broker.base.ids import NodeId
from broker.transport.frames import PAYLOAD, Frame
from broker.transport.peer import Connection


class ControlLink:
    """One peer's control connection. A handler in the sense of ``broker.transport.peer``."""

    def __init__(
        self,
        peer: NodeId,
        received: Callable[[NodeId, bytes], None],
        ended: Callable[[NodeId, Connection], None],
    ) -> None:
        self._peer = peer
        self._received = received
        self._ended = ended

    def frames(self, connection: Connection, frames: list[Frame]) -> None:
        received, peer = self._received, self._peer
        for kind, payload in frames:
            if kind == PAYLOAD:
                received(peer, payload)
            else:
                connection.attend(kind, payload)
            if not connection.open:  # after the end nothing more is told
                break

    def lost(self, connection: Connection) -> None:
        self._ended(self._peer, connection)

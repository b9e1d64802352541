"""As much of HTTP/2 as a connection needs that is only there: the preface, settings, and answers to pings.

RFC 9113, sections 3.4, 4.1, 6.5 and 6.7. Ten thousand of these cost the tester next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE = 9
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


def frame(kind: int, flags: int, payload: bytes = b"", stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Frames:
    """Cuts frames out of what arrives in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Kind, flags and payload of each frame that is complete."""
        self._rest += data
        found: list[tuple[int, int, bytes]] = []
        while len(self._rest) >= HEADER_SIZE:
            end = HEADER_SIZE + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < end:
                break
            found.append((self._rest[3], self._rest[4], self._rest[HEADER_SIZE:end]))
            self._rest = self._rest[end:]
        return found


class IdleConnection(asyncio.Protocol):
    """``ready`` is called once, when the server has said its settings; ``gone`` when the connection ends."""

    def __init__(self, ready: Callable[[IdleConnection], None], gone: Callable[[IdleConnection], None]) -> None:
        self._ready = ready
        self._gone = gone
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._settled = False
        self.pings = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(PREFACE + frame(SETTINGS, 0))

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        for kind, flags, payload in self._frames.feed(data):
            if flags & ACK:
                continue
            if kind == SETTINGS:
                self._transport.write(frame(SETTINGS, ACK))
                if not self._settled:
                    self._settled = True
                    self._ready(self)
            elif kind == PING:
                self.pings += 1
                self._transport.write(frame(PING, ACK, payload))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._gone(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

"""A peer made by hand, that may do what no node of ours does."""

from __future__ import annotations

import asyncio
import struct

from broker.transport.frames import HEADER_SIZE, HELLO, READY, Frame, header
from broker.transport.handshake import Hello, Purpose, encode
from broker.transport.settings import TlsSettings
from broker.transport.tls import dialling_context
from tests.integration.transport.loopback_mesh import PATIENCE, Node


class RawPeer:
    """One TCP connection, frames written and read one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, node: Node, tls: TlsSettings | None = None) -> RawPeer:
        context = dialling_context(tls) if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", node.mesh.port, ssl=context))

    @classmethod
    async def introduced(
        cls, node: Node, me: str, purpose: Purpose = "control", tls: TlsSettings | None = None
    ) -> RawPeer:
        """Connected, and the handshake done."""
        peer = await cls.connect(node, tls)
        peer.send(HELLO, encode(Hello(1, 0, "test", me, node.me, purpose)))
        kind, _ = await peer.read()
        assert kind == HELLO
        peer.send(READY, b"")
        return peer

    def send(self, kind: int, payload: bytes) -> None:
        self.writer.write(header(kind, payload) + payload)

    async def read(self) -> Frame:
        """Raises IncompleteReadError or ConnectionError if the node closed instead."""
        async with asyncio.timeout(PATIENCE):
            length, _, _, kind = struct.unpack("<IIIB", await self.reader.readexactly(HEADER_SIZE))
            return kind, await self.reader.readexactly(length)

    async def read_until(self, kind: int) -> bytes:
        """The payload of the next frame of this kind; pings and others before it are skipped."""
        while True:
            found, payload = await self.read()
            if found == kind:
                return payload

    async def until_closed(self) -> None:
        """Returns when the node has closed the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                return

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return

    def die(self) -> None:
        """What the kernel does for a killed process."""
        self.writer.transport.abort()

"""The gRPC server behind the client port, and a way in that is this process's own."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc.aio

from broker.aio.wakeups import all_read_at_once
from broker.base.addresses import split_address
from broker.edge.grpc.asking_ahead import calls_asked_ahead

Make = Callable[[], grpc.aio.Server]
"""A new server with its handlers, not started."""
Listen = Callable[[grpc.aio.Server, str], int]
"""Binds a server to host:port and returns the port. Raises OSError."""


class Door:
    """``asked_ahead``: calls that may be begun in one turn of the event loop."""

    def __init__(self, asked_ahead: int, make: Make, listen: Listen) -> None:
        self._asked_ahead = asked_ahead
        self._make = make
        self._listen = listen
        self._server: grpc.aio.Server | None = None
        self._folder: Path | None = None
        self.private = ""
        """An address for this process only; "" where there is no such thing."""

    async def open(self, address: str) -> int:
        """The port listened on. Raises OSError when the address is taken, or cannot be bound."""
        host, port = split_address(address, lowest_port=0)
        with all_read_at_once(), calls_asked_ahead(self._asked_ahead):
            server = self._make()
        port = self._listen(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if sys.platform != "win32":
            self._folder = Path(tempfile.mkdtemp(prefix="threefold-door-"))  # that nobody else may enter
            self.private = f"unix:{self._folder / 'watch'}"
            server.add_insecure_port(self.private)
        self._server = server
        await server.start()
        return port

    async def close(self, grace: float | None) -> None:
        """Takes no new calls; those under way have ``grace`` seconds to end, None: are cancelled. Nothing when closed
        already, or never opened."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

"""Several gRPC servers behind one port, the kernel dealing connections out to them.

A server of grpc.aio takes one new call in some turns of the event loop. When turns are long, because there is much to
do, calls would queue up before it, unseen by everything that could refuse them in time; several servers take several.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc.aio

from broker.aio.wakeups import all_read_at_once
from broker.base.addresses import split_address

Open = Callable[[], grpc.aio.Server]
"""A new server with its handlers, not started."""
Listen = Callable[[grpc.aio.Server, str], int]
"""Binds a server to host:port and returns the port. Raises OSError."""

_SHARED = sys.platform == "linux"
"""Elsewhere the kernel does not deal connections out: one server has to do."""


class Doors:
    def __init__(self, count: int, make: Open, listen: Listen) -> None:
        self._count = count if _SHARED else 1
        self._make = make
        self._listen = listen
        self._servers: list[grpc.aio.Server] = []
        self._folder: Path | None = None
        self.private: list[str] = []
        """An address of each door, for this process only."""

    async def open(self, address: str) -> int:
        """The port listened on. Raises OSError when the address is taken, or cannot be bound."""
        host, port = split_address(address, lowest_port=0)
        if _SHARED and port:
            _must_be_free(host, port)  # with the port shared, a rival would go unnoticed
        for _ in range(self._count):
            with all_read_at_once():
                server = self._make()
            port = self._listen(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            self._servers.append(server)
        if sys.platform != "win32":
            self._open_privately()
        for server in self._servers:
            await server.start()
        return port

    async def close(self, grace: float | None) -> None:
        """Takes no new calls; those under way have ``grace`` seconds to end, None: are cancelled. Nothing when closed
        already, or never opened."""
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.stop(grace) for server in servers))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _open_privately(self) -> None:
        """In a folder that nobody else may enter."""
        self._folder = Path(tempfile.mkdtemp(prefix="threefold-doors-"))
        for number, server in enumerate(self._servers):
            address = f"unix:{self._folder / str(number)}"
            server.add_insecure_port(address)
            self.private.append(address)


def _must_be_free(host: str, port: int) -> None:
    for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(where)
            except OSError as error:
                raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error

"""A three-zone cluster of real broker processes on this machine, in a directory of its own, on free ports.

For load tests and the demonstration: a process can be killed and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from broker.base.addresses import split_address
from broker.node.settings import ENVIRONMENT_PREFIX, NodeSettings, PeerSettings, dump

ZONES = ("a", "b", "c")
_LOCALHOST = "127.0.0.1"
PROGRAM = ("broker", "node")
"""Module, and arguments before ``--config``, that run a node."""
_POLL_SECONDS = 0.05


class ClusterError(Exception):
    """A process did not do what it was started for; the message quotes its log."""


class BrokerProcess:
    """One node: its settings, its log file, and the process while it runs."""

    def __init__(
        self, settings: NodeSettings, folder: Path, program: Sequence[str] = PROGRAM, prefix: Sequence[str] = ()
    ) -> None:
        """``prefix``: what the command line begins with, where something else is to start the node."""
        self.log = folder / f"{settings.node}.log"
        self.config = folder / f"{settings.node}.toml"
        self.configure(settings)
        self._program = program
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def id(self) -> str:
        return self.settings.node

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def configure(self, settings: NodeSettings) -> None:
        """Settings for the next start."""
        self.settings = settings
        self.config.write_text(dump(settings), encoding="utf-8")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", *self._program, "--config", str(self.config)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL, as a crash: nothing is written, nothing said."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    async def ended(self, seconds: float) -> None:
        """Waits for the end, and kills what has not ended in time."""
        process = self._process
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self, lines: int = 15) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)


class LocalCluster:
    """Asynchronous context manager: inside, three nodes serve; afterwards they are gone, with their data.

    ``folder``: where to keep data and logs instead, and not to remove them. ``program``: what runs a node.
    """

    def __init__(self, folder: Path | None = None, program: Sequence[str] = PROGRAM) -> None:
        self._kept = folder
        self._program = program
        self._folder = folder or Path(tempfile.mkdtemp(prefix="threefold-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self.nodes = {
            settings.node: BrokerProcess(settings, self._folder, program) for settings in _settings(self._folder)
        }

    @property
    def addresses(self) -> str:
        """Client addresses, as Client takes them."""
        return ",".join(node.settings.client_listen for node in self.nodes.values())

    def pids(self) -> dict[str, int]:
        return {node.id: node.pid for node in self.nodes.values() if node.pid is not None}

    async def join(self, name: str, zone: str) -> BrokerProcess:
        """Start a further node, which joins those that run; returns when it is ready."""
        client, peer, admin, aws = (f"{_LOCALHOST}:{port}" for port in _free_ports(4))
        settings = msgspec.structs.replace(
            next(iter(self.nodes.values())).settings,
            node=name,
            zone=zone,
            data_dir=str(self._folder / name),
            client_listen=client,
            peer_listen=peer,
            admin_listen=admin,
            aws_listen=aws,
            join=self.addresses,
            peers=(),
        )
        node = self.nodes[name] = BrokerProcess(settings, self._folder, self._program)
        node.start()
        await wait_ready(node)
        return node

    async def __aenter__(self) -> Self:
        try:
            for node in self.nodes.values():
                node.start()
            await asyncio.gather(*(wait_ready(node) for node in self.nodes.values()))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for node in self.nodes.values():
            if self._kept is None:
                node.kill()  # what nobody will read needs no orderly end
            else:
                node.terminate()
        await asyncio.gather(*(node.ended(10.0) for node in self.nodes.values()))
        if self._kept is None:
            shutil.rmtree(self._folder)


async def wait_ready(node: BrokerProcess, seconds: float = 30.0) -> None:
    """Returns when the node's /readyz says yes. Raises ClusterError when it ends or the time is up."""
    try:
        async with asyncio.timeout(seconds):
            while not await _is_ready(node.settings.admin_listen):
                if node.pid is None:
                    raise ClusterError(f"node {node.id} ended while starting:\n{node.last_words()}")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise ClusterError(f"node {node.id} is not ready after {seconds:g} s:\n{node.last_words()}") from None


async def _is_ready(address: str) -> bool:
    host, port = split_address(address)
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return b" 200 " in status


def _environment() -> dict[str, str]:
    """The nodes' settings are in their files: what the caller has set for other nodes must not reach them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}


def _settings(folder: Path) -> list[NodeSettings]:
    ports = iter(_free_ports(4 * len(ZONES)))
    peers = tuple(PeerSettings(f"{zone}-0", zone, *(f"{_LOCALHOST}:{next(ports)}" for _ in range(3))) for zone in ZONES)
    return [
        NodeSettings(
            node=peer.id,
            zone=peer.zone,
            cluster="loadtest",
            development=True,
            data_dir=str(folder / peer.id),
            client_listen=peer.client_address,
            peer_listen=peer.peer_address,
            admin_listen=peer.admin_address,
            aws_listen=f"{_LOCALHOST}:{next(ports)}",
            peers=peers,
            log_format="human",
        )
        for peer in peers
    ]


def _free_ports(count: int) -> list[int]:
    """Free at this moment: all are held at once, so that no two are the same, and then given back."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_LOCALHOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]

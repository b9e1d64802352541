"""Keeps one process per node running: starts it, says when it is ready, restarts it when it dies, stops it in order.

Knows of a node only its command line, its log file, and the address that answers when it is ready.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.base.instants import SECOND, Clock

STOP_TIMEOUT = 15.0
"""Seconds between SIGTERM and SIGKILL: a node drains, hands leaderships over and syncs first."""

RESTART_PAUSES = (1.0, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the first restart, the second, and so on."""
_STEADY = 30 * SECOND
"""A node that ran so many milliseconds has recovered: the next restart is a first one again."""
_READY_INTERVAL = 0.1
_LOG_TAIL = 5

Say = Callable[[str], None]


class Child(msgspec.Struct, frozen=True):
    """``ready_address``: ``host:port`` that answers 200 to GET /readyz when the node serves."""

    name: str
    command: Sequence[str]
    log: Path
    ready_address: str


class Supervisor:
    """A process that ends with code 0 has done so on purpose, and is not started again."""

    def __init__(
        self,
        children: Sequence[Child],
        restart: bool,
        environment: dict[str, str],
        say: Say,
        clock: Clock,
        pauses: Sequence[float] = RESTART_PAUSES,
    ) -> None:
        self._children = children
        self._restart = restart
        self._environment = environment
        self._say = say
        self._clock = clock
        self._pauses = pauses
        self._unready = {child.name for child in children}
        self.all_ready = asyncio.Event()
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    async def run(self, stop: asyncio.Event) -> int:
        """Until ``stop`` is set, or every node has ended for good. 0, or 1 when it ended by itself."""
        async with TaskScope("supervisor", lambda _name, _error: stop.set()) as scope:
            keeping = [scope.start(self._keep(child), name=child.name) for child in self._children]
            stopping = scope.start(stop.wait(), name="stop")
            ended = scope.start(_all_of(keeping), name="ended")
            await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                self._say("stopping")
            await scope.close()
        return 0 if stop.is_set() else 1

    async def _keep(self, child: Child) -> None:
        failures = 0
        while True:
            started = self._clock.monotonic()
            code = await self._run_once(child)
            failures = 1 if self._clock.monotonic() - started > _STEADY else failures + 1
            self._unready.add(child.name)
            self._say(f"{child.name} {_how(code)}; its log is {child.log}")
            if failures > 1 and code != -signal.SIGKILL:
                for line in _tail(child.log):
                    self._say(f"    {line}")
            if not self._restart or code == 0:
                return
            pause = self._pauses[min(failures, len(self._pauses)) - 1]
            self._say(f"{child.name} starts again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _run_once(self, child: Child) -> int:
        """Starts the process and waits for its end; cancelled, it ends the process in order first."""
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which then stops all in order.
            process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self.processes[child.name] = process
        self._say(f"{child.name} is up, process {process.pid}")
        try:
            async with TaskScope(child.name, lambda _name, _error: None) as scope:
                scope.start(self._tell_when_ready(child), name="ready")
                return await process.wait()
        finally:
            await _end(process)

    async def _tell_when_ready(self, child: Child) -> None:
        started = self._clock.monotonic()
        while True:
            if await is_ready(child.ready_address):
                break
            await asyncio.sleep(_READY_INTERVAL)
        self._say(f"{child.name} is ready after {(self._clock.monotonic() - started) / SECOND:.1f} s")
        self._unready.discard(child.name)
        if not self._unready:
            self.all_ready.set()


async def is_ready(address: str) -> bool:
    """Whether GET /readyz answers 200 there."""
    host, port = split_address(address)
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2] == [b"200"]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _all_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        return file.read().decode(errors="replace").splitlines()[-_LOG_TAIL:]


def node_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "broker", "node", "--config", str(config)]

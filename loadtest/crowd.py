"""Many connections from a process of its own: so many that stay, or so many new ones a second.

Spoken to over a pipe, one word and one number each way at a time, so that the process under measurement and the one
that measures are both left alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from multiprocessing.connection import Connection
from typing import Literal

import msgspec

from broker.base.addresses import split_address
from loadtest.http2 import IdleConnection

AT_A_TIME = 200
"""Connections that are being made at once."""
_RESERVED = 500
_PATIENCE_SECONDS = 30.0


class CrowdError(Exception):
    """The connections cannot be made here; the message says what to change."""


class Came(msgspec.Struct, frozen=True):
    """``made``: connections that reached the server's settings. ``failed``: those that did not, or ended early."""

    made: int
    failed: int
    seconds: float


def raise_open_files(wanted: int) -> None:
    """Raises CrowdError when this process may not have so many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted + _RESERVED:
        raise CrowdError(
            f"{wanted} connections need {wanted + _RESERVED} open files, this system allows {hard}: raise the limit "
            f"(ulimit -Hn), or ask for fewer with --connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    """The process that holds them; a context manager. Its methods block."""

    def __init__(self, address: str) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_run, args=(address, theirs), daemon=True)

    def __enter__(self) -> Crowd:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(("leave", 0, 0.0))
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()

    def hold(self, count: int) -> Came:
        """So many more connections stay."""
        return self._ask("hold", count, 0.0)

    def come_and_go(self, rate: int, seconds: float) -> Came:
        """New ones every second, each closed when the server has said its settings."""
        return self._ask("come and go", rate, seconds)

    def disperse(self) -> Came:
        """Closes what is held; tells how many were still there, and in ``failed`` how many had ended meanwhile."""
        return self._ask("disperse", 0, 0.0)

    def _ask(self, what: Literal["hold", "come and go", "disperse"], count: int, seconds: float) -> Came:
        self._pipe.send((what, count, seconds))
        answer: Came = self._pipe.recv()
        return answer


class _Holder:
    def __init__(self, address: str) -> None:
        self._host, self._port = split_address(address)
        self._loop = asyncio.get_running_loop()
        self._held: set[IdleConnection] = set()
        self._lost = 0

    async def hold(self, count: int) -> Came:
        begun = self._loop.time()
        gate = asyncio.Semaphore(AT_A_TIME)

        async def one() -> bool:
            async with gate:
                return await self._connect() is not None

        made = sum(await asyncio.gather(*(one() for _ in range(count))))
        return Came(made, count - made, self._loop.time() - begun)

    async def come_and_go(self, rate: int, seconds: float) -> Came:
        begun = self._loop.time()
        coming: list[asyncio.Future[IdleConnection | None]] = []
        for number in range(round(rate * seconds)):
            due = begun + number / rate
            if due > self._loop.time():
                await asyncio.sleep(due - self._loop.time())
            coming.append(asyncio.ensure_future(self._connect(stay=False)))
        made = sum(found is not None for found in await asyncio.gather(*coming))
        return Came(made, len(coming) - made, self._loop.time() - begun)

    async def disperse(self) -> Came:
        held, lost = len(self._held), self._lost
        for connection in list(self._held):
            connection.close()
        await asyncio.sleep(0.5)
        self._lost = 0
        return Came(held, lost, 0.5)

    async def _connect(self, stay: bool = True) -> IdleConnection | None:
        ready: asyncio.Future[None] = self._loop.create_future()

        def lost(connection: IdleConnection) -> None:
            if connection in self._held:
                self._held.discard(connection)
                self._lost += 1
            if not ready.done():
                ready.set_exception(ConnectionResetError())

        def is_ready(_: IdleConnection) -> None:
            if not ready.done():
                ready.set_result(None)

        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                _, made = await self._loop.create_connection(
                    lambda: IdleConnection(is_ready, lost), self._host, self._port
                )
                await ready
        except (OSError, TimeoutError):
            return None
        if stay:
            self._held.add(made)
        else:
            made.close()
        return made


def _run(address: str, pipe: Connection) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(address, pipe))


async def _serve(address: str, pipe: Connection) -> None:
    holder = _Holder(address)
    while True:
        what, count, seconds = await asyncio.to_thread(pipe.recv)
        if what == "leave":
            return
        if what == "hold":
            answer = await holder.hold(count)
        elif what == "disperse":
            answer = await holder.disperse()
        else:
            answer = await holder.come_and_go(count, seconds)
        pipe.send(answer)

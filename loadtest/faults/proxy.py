"""Carries TCP streams between places: ``python -m loadtest.faults.proxy PORT,PORT OWN:SEEN:PLACE ...``.

Connections to a node's ``SEEN`` address go on to its ``OWN`` one. Who calls is told by the address a connection comes
from: a node's own one, or any other for clients. What is sent on a way that is cut waits until it is not, as TCP would
send it again; a lost packet is a delay of the least time in which TCP sends again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Sequence
from typing import NamedTuple

import uvloop

from loadtest.faults.carrier import obey
from loadtest.faults.links import ALL_SOUND, CLIENTS, Links

RESENT_AFTER_SECONDS = 0.2
_CHUNK = 64 * 1024
_WAITING = 4 * 1024 * 1024
"""Bytes on their way in one direction, as a socket's buffers hold them."""


class End(NamedTuple):
    own: str
    seen: str
    place: str


class Proxy:
    def __init__(self, ends: Sequence[End], chance: random.Random) -> None:
        self._places = {end.own: end.place for end in ends}
        self._chance = chance
        self._links = ALL_SOUND
        self._changed = asyncio.Event()

    def shape(self, links: Links) -> None:
        self._links = links
        self._changed.set()
        self._changed = asyncio.Event()

    async def serve(self, end: End, port: int) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._join(reader, writer, end, port)

        await asyncio.start_server(accept, end.seen, port)

    async def _join(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter, end: End, port: int) -> None:
        caller = self._places.get(near_writer.get_extra_info("peername")[0], CLIENTS)
        try:
            await self._passable(caller, end.place)
            far, far_writer = await asyncio.open_connection(end.own, port)
        except OSError:  # nobody listens: the caller sees a connection that ends at once
            near_writer.transport.abort()
            return
        there = asyncio.ensure_future(self._carry(near, far_writer, caller, end.place))
        back = asyncio.ensure_future(self._carry(far, near_writer, end.place, caller))
        await asyncio.wait([there, back])

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str, target: str
    ) -> None:
        """Reads at once and writes in order, each chunk when its time has come."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING // _CHUNK)
        writing = asyncio.ensure_future(self._write(chunks, writer, source, target))
        try:
            while data := await reader.read(_CHUNK):
                await chunks.put((loop.time() + self._delay(source, target), data))
        except OSError:
            writing.cancel()
            writer.transport.abort()
            return
        await chunks.put((loop.time() + self._delay(source, target), b""))
        await asyncio.wait([writing])

    async def _write(
        self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, source: str, target: str
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due, data = await chunks.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._passable(source, target)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    def _delay(self, source: str, target: str) -> float:
        link = self._links.way(source, target)
        lost = link.loss and self._chance.random() < link.loss
        return link.delay / 1_000 + (RESENT_AFTER_SECONDS if lost else 0.0)

    async def _passable(self, source: str, target: str) -> None:
        while self._links.way(source, target).cut:
            await self._changed.wait()


async def run(ports: Sequence[int], ends: Sequence[End]) -> None:
    proxy = Proxy(ends, random.Random())
    for end in ends:
        for port in ports:
            await proxy.serve(end, port)
    await obey(proxy.shape)


def parse(text: str) -> End:
    own, seen, place = text.split(":")
    return End(own, seen, place)


if __name__ == "__main__":
    uvloop.run(run([int(port) for port in sys.argv[1].split(",")], [parse(text) for text in sys.argv[2:]]))

"""Carries IP packets between the tunnels of all places: ``python -m loadtest.faults.router HANDLE:ADDRESS:PLACE ...``.

Each place's only way out is a tunnel whose other end is a file descriptor here. A packet is dropped, or handed on after
its delay, as the links of the moment say: what vanishes, vanishes for real, and TCP on both sides has to deal with it.
In userspace, because not every kernel has netem (an emulated link) built in, while tunnels are nearly everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sys
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import uvloop

from loadtest.faults.carrier import obey
from loadtest.faults.links import ALL_SOUND, Links

MTU = 9_000
_AT_ONCE = 64
"""Packets read of one tunnel before the others have their turn."""


class End(NamedTuple):
    handle: int
    address: bytes
    place: str


class Router:
    def __init__(self, ends: Sequence[End], chance: random.Random, loop: asyncio.AbstractEventLoop) -> None:
        self._ends = {end.address: end for end in ends}
        self._chance = chance
        self._loop = loop
        self._links = ALL_SOUND
        self._under_way: list[tuple[float, int, int, bytes]] = []
        """A heap: when due, the order of arrival, where to, the packet."""
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def shape(self, links: Links) -> None:
        self._links = links

    def read(self, end: End) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(end.handle, MTU + 64)
            except BlockingIOError:
                return
            self._carry(end, packet)

    def _carry(self, source: End, packet: bytes) -> None:
        target = self._ends.get(packet[16:20])
        if target is None or packet[0] >> 4 != 4:
            return
        link = self._links.way(source.place, target.place)
        if link.cut or (link.loss and self._chance.random() < link.loss):
            return
        if not link.delay:
            _hand_over(target.handle, packet)
            return
        self._count += 1
        heappush(self._under_way, (self._loop.time() + link.delay / 1_000, self._count, target.handle, packet))
        if self._under_way[0][1] == self._count:
            self._wake_later()

    def _arrive(self) -> None:
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, handle, packet = heappop(self._under_way)
            _hand_over(handle, packet)
        self._timer = None
        if self._under_way:
            self._wake_later()

    def _wake_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._under_way[0][0], self._arrive)


def _hand_over(handle: int, packet: bytes) -> None:
    with contextlib.suppress(OSError):  # a full queue, or an interface that is going: lost, as packets are
        os.write(handle, packet)


def parse(text: str) -> End:
    handle, address, place = text.split(":")
    return End(int(handle), socket.inet_aton(address), place)


async def run(ends: Sequence[End]) -> None:
    loop = asyncio.get_running_loop()
    router = Router(ends, random.Random(), loop)
    for end in ends:
        os.set_blocking(end.handle, False)
        loop.add_reader(end.handle, router.read, end)
    await obey(router.shape)


if __name__ == "__main__":
    uvloop.run(run([parse(text) for text in sys.argv[1:]]))

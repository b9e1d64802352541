"""What a frame between two nodes costs: CPU microseconds of sender and receiver, two processes on loopback.

``python -m loadtest.transport`` prints a table. "One in flight" is a round trip: the answer is a frame of 8 bytes. The
other rows stream: so many frames in each turn of the sender's loop, and 8 MiB on their way.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection

import msgspec
from rich.console import Console
from rich.table import Table

from broker.aio.runner import run
from broker.aio.tasks import TaskScope
from broker.base.errors import Unavailable
from broker.base.ids import NodeId
from broker.base.limits import KIB, MIB
from broker.transport.contract import MeshListener
from broker.transport.mesh import Mesh
from broker.transport.settings import MeshSettings

SENDER, RECEIVER = NodeId("a-0"), NodeId("b-0")
_ACKNOWLEDGE_EVERY = 64 * KIB
_IN_FLIGHT = 8 * MIB


class Case(msgspec.Struct, frozen=True):
    """``batch`` frames of ``size`` bytes in a turn of the loop; ``alone`` waits for an answer to each batch."""

    name: str
    size: int
    batch: int
    frames: int
    alone: bool = False


CASES = (
    Case("1 KiB, one in flight", KIB, 1, 20_000, alone=True),
    Case("1 KiB, 64 in a turn", KIB, 64, 640_000),
    Case("64 KiB, one in flight", 64 * KIB, 1, 10_000, alone=True),
    Case("64 KiB, streamed", 64 * KIB, 8, 40_000),
    Case("1 MiB, one in flight", MIB, 1, 2_000, alone=True),
    Case("1 MiB, streamed", MIB, 2, 3_000),
)


class Measured(msgspec.Struct, frozen=True):
    """CPU and wall seconds of one side."""

    cpu: float
    wall: float


class Counting(MeshListener):
    """Counts the bytes received and wakes who waits for them. There is one peer: which one need not be asked."""

    def __init__(self) -> None:
        self.bytes = 0
        self.connected = asyncio.Event()
        self.arrived = asyncio.Event()

    def frame_received(self, peer: NodeId, payload: bytes) -> None:  # noqa: ARG002
        self.bytes += len(payload)
        self.arrived.set()

    def peer_up(self, peer: NodeId) -> None:  # noqa: ARG002
        self.connected.set()

    def peer_down(self, peer: NodeId, closed_by_peer: bool) -> None:  # noqa: ARG002
        self.connected.clear()
        self.arrived.set()

    async def bulk_received(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:  # noqa: ARG002
        raise Unavailable("frames are measured here; bulk transfers are refused")


class Answering(Counting):
    """The receiver: says how many bytes it has, in frames that are small and few."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every = every
        self._told = 0
        self.mesh: Mesh | None = None

    def frame_received(self, peer: NodeId, payload: bytes) -> None:
        self.bytes += len(payload)
        if self.bytes - self._told >= self._every and self.mesh is not None:
            self._told = self.bytes
            self.mesh.send(peer, self.bytes.to_bytes(8, "big"))


class Sending(Counting):
    """The sender: knows how many bytes have arrived."""

    def frame_received(self, peer: NodeId, payload: bytes) -> None:  # noqa: ARG002
        self.bytes = int.from_bytes(payload, "big")
        self.arrived.set()


def _fail(task_name: str, error: BaseException) -> None:
    raise SystemExit(f"{task_name} failed: {error}")


def _mesh(me: NodeId, listener: MeshListener, scope: TaskScope) -> Mesh:
    return Mesh(
        cluster="loadtest", me=me, settings=MeshSettings(), listener=listener, scope=scope, random=random.Random()
    )


def receive(case: Case, pipe: Connection) -> None:
    """The receiving process: tells its port, and at the end what it spent."""

    async def main(_: asyncio.Event) -> int:
        listener = Answering(case.size if case.alone else _ACKNOWLEDGE_EVERY)
        async with TaskScope("receiver", _fail) as scope:
            mesh = listener.mesh = _mesh(RECEIVER, listener, scope)
            mesh.set_peers({SENDER: "127.0.0.1:1"})
            await mesh.start()
            pipe.send(mesh.port)
            await listener.connected.wait()
            cpu, wall = time.process_time(), time.perf_counter()
            while listener.connected.is_set():
                listener.arrived.clear()
                await listener.arrived.wait()
            pipe.send(Measured(time.process_time() - cpu, time.perf_counter() - wall))
            await mesh.close()
        return 0

    run(main)


async def send(case: Case, port: int) -> Measured:
    """The sending side, in this process."""
    listener = Sending()
    async with TaskScope("sender", _fail) as scope:
        mesh = _mesh(SENDER, listener, scope)
        mesh.set_peers({RECEIVER: f"127.0.0.1:{port}"})
        await mesh.start()
        await listener.connected.wait()
        payload = random.randbytes(case.size)
        total = case.frames * case.size
        limit = case.size if case.alone else _IN_FLIGHT
        cpu, wall = time.process_time(), time.perf_counter()
        sent = 0
        while listener.bytes < total:
            while sent < total and sent + case.batch * case.size - listener.bytes <= limit:
                for _ in range(case.batch):
                    if not mesh.send(RECEIVER, payload):
                        raise SystemExit("a frame was dropped: the connection was lost or its buffer was full")
                sent += case.batch * case.size
                await asyncio.sleep(0)
            listener.arrived.clear()
            if sent - listener.bytes > limit - case.batch * case.size or sent == total:
                await listener.arrived.wait()
        measured = Measured(time.process_time() - cpu, time.perf_counter() - wall)
        await mesh.close()
        return measured


def measure(case: Case) -> tuple[Measured, Measured]:
    """Sender and receiver of one case."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(case, theirs))
    process.start()
    measured: list[Measured] = []

    async def main(_: asyncio.Event) -> int:
        measured.append(await send(case, ours.recv()))
        return 0

    run(main)
    receiver: Measured = ours.recv()
    process.join()
    return measured[0], receiver


def main() -> None:
    """Entry point of ``python -m loadtest.transport``."""
    parser = argparse.ArgumentParser(description="CPU cost of a frame between two nodes")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of frames of every case")
    scale = parser.parse_args().scale
    table = Table("frames", "sender CPU us", "receiver CPU us", "both, per frame", "wall us", "MB/s")
    for case in CASES:
        frames = max(case.batch, int(case.frames * scale) // case.batch * case.batch)
        sender, receiver = measure(msgspec.structs.replace(case, frames=frames))
        each = [second * 1e6 / frames for second in (sender.cpu, receiver.cpu, sender.cpu + receiver.cpu, sender.wall)]
        rate = frames * case.size / sender.wall / 1e6
        table.add_row(case.name, *(f"{value:.1f}" for value in each), f"{rate:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

"""Bulk transfers: whole or not at all, at the receiver's pace, and never in the way of frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from google_crc32c import extend

from broker.base.errors import DataCorrupt, DiskFull, Unavailable
from broker.base.ids import NodeId
from broker.transport.chunks import Total
from broker.transport.frames import (
    BULK_DONE,
    BULK_END,
    BULK_FAILED,
    BULK_HEADER,
    BULK_PIECE,
    CLOSING,
    PAYLOAD,
)
from broker.transport.handshake import decode_closing
from broker.transport.settings import MeshSettings
from tests.integration.transport.loopback_mesh import PATIENCE, A, B, C, Loopback, Node, pieces_of
from tests.integration.transport.raw_peer import RawPeer

MIB = 1024 * 1024


class HeldConsumer:
    """Takes nothing until it is released; notes what ends it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self.ended = asyncio.Event()
        self.taken = 0
        self.error: BaseException | None = None

    async def __call__(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        self.begun.set()
        await self.released.wait()
        try:
            async for piece in pieces:
                self.taken += len(piece)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()


class CountedSource:
    """Yields pieces and counts them; ``total`` of them, or as many as are asked for."""

    def __init__(self, piece: bytes, total: int) -> None:
        self.piece = piece
        self.total = total
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.given < self.total:
            self.given += 1
            yield self.piece


async def within_patience(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


@pytest.mark.parametrize(("sender", "receiver"), [(0, 1), (1, 0)])
async def test_a_transfer_arrives_whole_whoever_sends(sender: int, receiver: int) -> None:
    async with Loopback() as loopback:
        nodes = await loopback.connected(A, B)
        pieces = [bytes([number]) * (number * 10_000) for number in range(50)]
        await nodes[sender].mesh.send_bulk(nodes[receiver].me, b"header", pieces_of(*pieces))
        assert nodes[receiver].notes.bulk == [(nodes[sender].me, b"header", b"".join(pieces))]


async def test_an_empty_transfer_is_one_too() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        await a.mesh.send_bulk(B, b"", pieces_of())
        assert b.notes.bulk == [(A, b"", b"")]


async def test_frames_pass_a_transfer_that_is_held_back() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B, settings=MeshSettings(bulk_window_bytes=MIB))
        held = b.notes.consume = HeldConsumer()
        source = CountedSource(bytes(MIB // 4), total=400)
        sending = asyncio.ensure_future(a.mesh.send_bulk(B, b"snapshot", aiter(source)))
        await within_patience(held.begun)
        for number in range(100):
            a.mesh.send(B, b"%d" % number)
            await b.notes.until(lambda number=number: (A, b"%d" % number) in b.notes.received)
            b.mesh.send(A, b"%d" % number)
            await a.notes.until(lambda number=number: (B, b"%d" % number) in a.notes.received)
        assert not sending.done()
        assert held.taken == 0
        held.released.set()
        await sending
        assert held.taken == 400 * (MIB // 4)


async def test_the_receiver_holds_the_sender_back() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B, settings=MeshSettings(bulk_window_bytes=MIB))
        held = b.notes.consume = HeldConsumer()
        source = CountedSource(bytes(MIB), total=100)
        sending = asyncio.ensure_future(a.mesh.send_bulk(B, b"snapshot", aiter(source)))
        await within_patience(held.begun)
        for _ in range(200):  # round trips in which an unbounded sender would have sent everything
            a.mesh.send(B, b"ping")
            count = len(b.notes.received)
            await b.notes.until(lambda count=count: len(b.notes.received) > count)
        assert source.given < 50  # the window and the kernels' buffers
        held.released.set()
        await sending
        assert held.taken == 100 * MIB


async def test_a_receiver_that_raises_refuses_and_the_sender_learns_why() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)

        async def refuse(peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
            raise DiskFull("no room for a snapshot of 5 GiB")

        b.notes.consume = refuse
        source = CountedSource(bytes(MIB), total=10_000)
        with pytest.raises(Unavailable, match="b-0 refused the bulk transfer: DiskFull: no room for a snapshot"):
            await a.mesh.send_bulk(B, b"snapshot", aiter(source))
        assert source.given < 10_000
        assert a.mesh.connected() == {B}


async def test_a_receiver_that_leaves_early_has_not_confirmed() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)

        async def take_one(peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
            await anext(pieces)

        b.notes.consume = take_one
        with pytest.raises(Unavailable, match="stopped reading after"):
            await a.mesh.send_bulk(B, b"snapshot", pieces_of(b"one", b"two"))


async def test_a_source_that_fails_ends_the_transfer_on_both_sides() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        held = b.notes.consume = HeldConsumer()
        held.released.set()

        async def broken() -> AsyncIterator[bytes]:
            yield b"one"
            raise DataCorrupt("segment 7 is damaged")

        with pytest.raises(DataCorrupt, match="segment 7"):
            await a.mesh.send_bulk(B, b"snapshot", broken())
        await within_patience(held.ended)
        assert isinstance(held.error, Unavailable)
        assert "the sender gave up" in str(held.error)


async def test_a_cancelled_sender_ends_the_transfer() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        held = b.notes.consume = HeldConsumer()
        sending = asyncio.ensure_future(a.mesh.send_bulk(B, b"s", aiter(CountedSource(bytes(MIB), 10_000))))
        await within_patience(held.begun)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        held.released.set()
        await within_patience(held.ended)
        assert isinstance(held.error, Unavailable)


@pytest.mark.parametrize("closing", ["sender", "receiver"])
async def test_a_node_that_closes_cuts_its_transfers_off(closing: str) -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        held = b.notes.consume = HeldConsumer()
        sending = asyncio.ensure_future(a.mesh.send_bulk(B, b"s", aiter(CountedSource(bytes(MIB), 10_000))))
        await within_patience(held.begun)
        await {"sender": a, "receiver": b}[closing].mesh.close()
        with pytest.raises(Unavailable, match="the node is stopping"):
            await sending
        held.released.set()


async def test_a_transfer_that_is_still_dialling_does_not_outlive_the_mesh() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        sending = asyncio.ensure_future(a.mesh.send_bulk(B, b"snapshot", pieces_of(b"one")))
        await asyncio.sleep(0)
        await a.mesh.close()
        with pytest.raises(Unavailable, match="the node is stopping"):
            await sending
        assert b.notes.bulk == []


async def test_who_cannot_be_reached_is_unavailable() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        with pytest.raises(Unavailable, match="node c-0 is not a peer of a-0"):
            await a.mesh.send_bulk(C, b"", pieces_of())
        a.mesh.set_peers({B: b.address, C: "127.0.0.1:1"})
        with pytest.raises(Unavailable, match=r"no bulk connection to c-0 at 127\.0\.0\.1:1"):
            await a.mesh.send_bulk(C, b"", pieces_of())
        a.mesh.set_peers({B: b.address, C: b.address})
        with pytest.raises(Unavailable, match="wrong-node"):
            await a.mesh.send_bulk(C, b"", pieces_of())
        await a.mesh.close()
        with pytest.raises(Unavailable, match="a-0 is not running"):
            await a.mesh.send_bulk(B, b"", pieces_of())


async def test_transfers_received_at_a_time_are_bounded() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B, settings=MeshSettings(max_bulk_receipts=1))
        held = b.notes.consume = HeldConsumer()
        first = asyncio.ensure_future(a.mesh.send_bulk(B, b"first", pieces_of(b"x")))
        await within_patience(held.begun)
        with pytest.raises(Unavailable, match="b-0 takes 1 bulk transfers at a time: try again later"):
            await a.mesh.send_bulk(B, b"second", pieces_of(b"x"))
        held.released.set()
        await first


async def receiving_by_hand(loopback: Loopback) -> tuple[Node, HeldConsumer, RawPeer]:
    """Node b-0, to which an a-0 made by hand has begun a transfer."""
    node = await loopback.start(B)
    node.mesh.set_peers({A: "127.0.0.1:1"})
    consumer = node.notes.consume = HeldConsumer()
    consumer.released.set()
    peer = await RawPeer.introduced(node, A, "bulk")
    peer.send(BULK_HEADER, b"snapshot")
    return node, consumer, peer


async def test_the_checksum_of_the_whole_is_checked() -> None:
    async with Loopback() as loopback:
        _, consumer, peer = await receiving_by_hand(loopback)
        peer.send(BULK_PIECE, b"one")
        peer.send(BULK_PIECE, b"two")
        peer.send(BULK_END, encode_total(6, extend(0, b"twoone")))
        assert b"DataCorrupt" in await peer.read_until(BULK_FAILED)
        assert isinstance(consumer.error, DataCorrupt)
        await peer.close()


async def test_a_right_checksum_is_confirmed() -> None:
    async with Loopback() as loopback:
        _, consumer, peer = await receiving_by_hand(loopback)
        peer.send(BULK_PIECE, b"one")
        peer.send(BULK_END, encode_total(3, extend(0, b"one")))
        assert await peer.read_until(BULK_DONE) == b""
        assert consumer.taken == 3
        await peer.close()


async def test_a_sender_that_dies_is_noticed_before_the_end() -> None:
    async with Loopback() as loopback:
        _, consumer, peer = await receiving_by_hand(loopback)
        peer.send(BULK_PIECE, b"one")
        await peer.writer.drain()
        peer.die()
        await within_patience(consumer.ended)
        assert isinstance(consumer.error, Unavailable)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(BULK_HEADER, b"again"), (PAYLOAD, b"frame"), (BULK_DONE, b""), (BULK_END, b"\xc1")],
)
async def test_what_has_no_place_in_a_transfer_ends_it(kind: int, payload: bytes) -> None:
    async with Loopback() as loopback:
        _, consumer, peer = await receiving_by_hand(loopback)
        peer.send(kind, payload)
        assert "malformed" in decode_closing(await peer.read_until(CLOSING)).reason
        await within_patience(consumer.ended)
        assert isinstance(consumer.error, Unavailable)
        await peer.close()


def encode_total(length: int, checksum: int) -> bytes:
    return Total(length, checksum).encode()

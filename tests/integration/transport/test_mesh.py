"""Meshes over loopback sockets: frames both ways, and what each side is told when a connection ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from broker.base.errors import InvalidArgument
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.transport.frames import CLOSING, PAYLOAD, header
from broker.transport.handshake import Closing, decode_closing, encode
from broker.transport.settings import MeshSettings
from tests.integration.transport.loopback_mesh import A, B, C, Loopback, Node, introduce
from tests.integration.transport.raw_peer import RawPeer


async def with_hand_made_a(loopback: Loopback, settings: MeshSettings | None = None) -> tuple[Node, RawPeer]:
    """Node b-0, connected to an a-0 made by hand."""
    node = await loopback.start(B, settings)
    node.mesh.set_peers({A: "127.0.0.1:1"})
    peer = await RawPeer.introduced(node, A)
    await node.notes.until_event("up", A)
    return node, peer


async def test_frames_go_both_ways_in_order() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        frames = [bytes([number]) * (number * 1_000) for number in range(100)]
        assert {a.mesh.send(B, frame) for frame in frames} == {True}
        assert {b.mesh.send(A, frame) for frame in frames} == {True}
        await b.notes.until(lambda: len(b.notes.received) == 100)
        await a.notes.until(lambda: len(a.notes.received) == 100)
        assert b.notes.received == [(A, frame) for frame in frames]
        assert a.notes.received == [(B, frame) for frame in frames]


async def test_every_node_is_connected_to_every_other_once() -> None:
    async with Loopback() as loopback:
        nodes = await loopback.connected(A, B, C)
        names = {node.me for node in nodes}
        for node in nodes:
            assert node.mesh.connected() == names - {node.me}
            assert node.count("broker_mesh_connections") == 2
            assert sorted(node.notes.events) == sorted(("up", name) for name in names - {node.me})


async def test_a_frame_of_many_megabytes_arrives_whole() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        large = bytes(range(256)) * 65_536
        assert a.mesh.send(B, large)
        assert a.mesh.send(B, b"after")
        await b.notes.until(lambda: len(b.notes.received) == 2)
        assert b.notes.received == [(A, large), (A, b"after")]


async def test_all_frames_of_one_turn_leave_in_one_write() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        writes, frames = a.count("broker_mesh_writes"), a.count("broker_mesh_frames_sent")
        for _ in range(64):
            a.mesh.send(B, bytes(1_024))
        await b.notes.until(lambda: len(b.notes.received) == 64)
        assert a.count("broker_mesh_writes") - writes == 1
        assert a.count("broker_mesh_frames_sent") - frames == 64


async def test_nothing_is_sent_to_who_is_not_connected() -> None:
    async with Loopback() as loopback:
        a = await loopback.start(A)
        a.mesh.set_peers({B: "127.0.0.1:1"})
        assert not a.mesh.send(B, b"lost")
        assert not a.mesh.send(C, b"lost")
        assert a.mesh.connected() == frozenset()


async def test_a_full_send_buffer_drops_frames_and_says_so() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback, MeshSettings(send_buffer_bytes=100_000))
        sent = [node.mesh.send(A, bytes(10_000)) for _ in range(20)]
        assert sent == [True] * 9 + [False] * 11
        assert node.count("broker_mesh_frames_dropped") == 11
        for _ in range(9):
            assert await peer.read_until(PAYLOAD) == bytes(10_000)
        assert node.mesh.send(A, bytes(10_000))
        await peer.close()


async def test_one_frame_larger_than_the_send_buffer_goes_when_nothing_waits() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B, settings=MeshSettings(send_buffer_bytes=1_000))
        assert a.mesh.send(B, bytes(50_000))
        assert not a.mesh.send(B, b"too much")
        await b.notes.until(lambda: len(b.notes.received) == 1)


async def test_a_payload_over_the_limit_is_the_callers_mistake() -> None:
    async with Loopback() as loopback:
        a, _ = await loopback.connected(A, B, settings=MeshSettings(max_frame_bytes=1_000))
        with pytest.raises(ValueError, match="1001 bytes is over the limit of 1000: split it"):
            a.mesh.send(B, bytes(1_001))


async def test_a_killed_peer_is_closed_by_peer() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback)
        peer.die()
        await node.notes.until_event("down", A, True)
        assert node.mesh.connected() == frozenset()


async def test_a_peer_killed_with_unread_bytes_is_closed_by_peer() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback)
        peer.writer.transport.pause_reading()
        node.mesh.send(A, bytes(10_000_000))
        peer.die()
        await node.notes.until_event("down", A, True)


async def test_goodbye_is_closed_by_peer_there_and_not_here() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        a.mesh.send(B, b"last words")
        await a.mesh.close()
        await b.notes.until_event("down", A, True)
        assert b.notes.received == [(A, b"last words")]
        assert a.notes.events == [("up", B), ("down", B, False)]


async def test_who_no_longer_belongs_is_disconnected_and_nobody_has_died() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B)
        b.mesh.set_peers({})
        assert b.notes.events == [("up", A), ("down", A, False)]
        await a.notes.until_event("down", B, False)
        assert not b.mesh.send(A, b"lost")


async def test_after_the_end_no_frame_is_told_any_more() -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B)

        def disown(peer: NodeId, payload: bytes) -> None:
            node.notes.received.append((peer, payload))
            node.mesh.set_peers({})

        node.notes.frame_received = disown  # type: ignore[method-assign]
        node.mesh.set_peers({A: "127.0.0.1:1"})
        peer = await RawPeer.introduced(node, A)
        peer.writer.write((header(PAYLOAD, b"frame") + b"frame") * 5)
        await node.notes.until_event("down", A, False)
        await peer.until_closed()
        assert node.notes.received == [(A, b"frame")]
        await peer.close()


async def test_a_peer_that_says_another_reason_than_stopping_has_not_died() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback)
        peer.send(CLOSING, encode(Closing(False, "nothing received")))
        await peer.close()
        await node.notes.until_event("down", A, False)


async def test_silence_ends_a_connection_and_is_not_death() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback, MeshSettings(silence_timeout=Millis(40)))
        closing = decode_closing(await peer.read_until(CLOSING))
        assert closing == Closing(False, "nothing received for 40 ms")
        await node.notes.until_event("down", A, False)
        await peer.close()


async def test_nodes_that_have_nothing_to_say_stay_connected() -> None:
    async with Loopback() as loopback:
        a, b = await loopback.connected(A, B, settings=MeshSettings(silence_timeout=Millis(400)))
        silence = await loopback.start(C, MeshSettings(silence_timeout=Millis(800)))
        silence.mesh.set_peers({A: "127.0.0.1:1"})
        peer = await RawPeer.introduced(silence, A)
        # The third node's verdict on a silent peer is the clock: twice the first two's patience has passed by then.
        await silence.notes.until_event("down", A, False)
        await peer.close()
        assert a.notes.events == [("up", B)]
        assert b.notes.events == [("up", A)]


async def test_a_damaged_frame_ends_the_connection_and_is_not_death() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback)
        peer.send(PAYLOAD, b"good")
        peer.writer.write(header(PAYLOAD, b"good") + b"evil")
        await node.notes.until_event("down", A, False)
        assert b"checksum" in await peer.read_until(CLOSING)
        assert (A, b"evil") not in node.notes.received
        await peer.close()


@pytest.mark.parametrize("kind", [0, 1, 8, 99, 255])
async def test_a_frame_of_no_known_kind_ends_the_connection(kind: int) -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback)
        peer.send(kind, b"?")
        await node.notes.until_event("down", A, False)
        assert f"kind {kind}".encode() in await peer.read_until(CLOSING)
        await peer.close()


async def test_a_known_peer_is_held_to_the_frame_limit_too() -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback, MeshSettings(max_frame_bytes=10_000))
        peer.send(PAYLOAD, bytes(10_000))
        await node.notes.until(lambda: node.notes.received == [(A, bytes(10_000))])
        peer.send(PAYLOAD, bytes(10_001))
        await node.notes.until_event("down", A, False)
        assert b"10001 bytes is over the limit of 10000" in await peer.read_until(CLOSING)
        assert len(node.notes.received) == 1
        await peer.close()


async def test_the_same_peer_dialling_again_replaces_a_half_open_connection() -> None:
    async with Loopback() as loopback:
        node, former = await with_hand_made_a(loopback)
        latter = await RawPeer.introduced(node, A)
        assert decode_closing(await former.read_until(CLOSING)).stopping is False
        latter.send(PAYLOAD, b"it is me")
        await node.notes.until(lambda: (A, b"it is me") in node.notes.received)
        assert node.notes.events == [("up", A), ("down", A, False), ("up", A)]
        node.mesh.send(A, b"welcome")
        assert await latter.read_until(PAYLOAD) == b"welcome"
        await former.close()
        await latter.close()


@pytest.mark.parametrize("restarted", [A, B])
async def test_a_restarted_node_is_connected_again(restarted: str) -> None:
    async with Loopback() as loopback:
        nodes = {node.me: node for node in await loopback.connected(A, B)}
        leaving = nodes.pop(restarted)
        [staying] = nodes.values()
        await leaving.mesh.close()
        await staying.notes.until_event("down", leaving.me, True)
        back = await loopback.start(leaving.me)
        introduce([staying, back])
        await back.notes.until_event("up", staying.me)
        await staying.notes.until(lambda: staying.notes.events.count(("up", leaving.me)) == 2)
        assert staying.mesh.send(back.me, b"welcome back")
        await back.notes.until(lambda: (staying.me, b"welcome back") in back.notes.received)


async def test_a_peer_that_is_not_there_yet_is_found_when_it_comes() -> None:
    async with Loopback() as loopback:
        late = await loopback.start(B)
        address = late.address
        await late.mesh.close()
        early = await loopback.start(A)
        early.mesh.set_peers({B: address})
        port = int(address.rpartition(":")[2])
        late = await loopback.start(B, MeshSettings(port=port))
        late.mesh.set_peers({A: early.address})
        await early.notes.until_event("up", B)


async def test_an_address_that_is_none_changes_nothing() -> None:
    async with Loopback() as loopback:
        a, _ = await loopback.connected(A, B)
        with pytest.raises(InvalidArgument, match="address of node c-0: 'nowhere' is not an address"):
            a.mesh.set_peers({C: "nowhere"})
        assert a.mesh.connected() == {B}


async def test_a_listener_that_fails_ends_the_component_loudly(caplog: pytest.LogCaptureFixture) -> None:
    async with Loopback() as loopback:
        node, peer = await with_hand_made_a(loopback)

        def fail(peer: str, payload: bytes) -> None:
            raise LookupError("no such group")

        node.notes.frame_received = fail  # type: ignore[method-assign]
        peer.send(PAYLOAD, b"frame")
        # The link took the listener's method when it was made: the next connection has the failing one.
        await peer.close()
        await node.notes.until_event("down", A, True)
        again = await RawPeer.introduced(node, A)
        again.send(PAYLOAD, b"frame")
        await node.notes.until_event("down", A, False)
        assert [str(error) for _, error in node.failures] == ["no such group"]
        assert any(record.levelno == logging.CRITICAL for record in caplog.records)
        node.failures.clear()
        await again.close()


async def test_closing_twice_and_before_starting_is_harmless() -> None:
    async with Loopback() as loopback:
        node = Node(A, MeshSettings(), "test", (1, 0))
        await node.mesh.close()
        a, _ = await loopback.connected(B, C)
        await asyncio.gather(a.mesh.close(), a.mesh.close())
        await a.mesh.close()
        assert not a.mesh.send(C, b"lost")

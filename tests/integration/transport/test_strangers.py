"""Who does not belong is turned away with a reason on both sides; malformed bytes harm nothing but their connection."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.instants import Millis
from broker.transport.frames import HELLO, PAYLOAD, READY, REFUSED, header
from broker.transport.handshake import Forgetful, Hello, decode_refused, encode
from broker.transport.settings import MeshSettings
from tests.integration.transport.loopback_mesh import PATIENCE, A, B, C, Loopback, Node, introduce
from tests.integration.transport.raw_peer import RawPeer
from tests.integration.transport.warnings_of_nodes import Warned


async def still_serves(loopback: Loopback, node: Node) -> None:
    """A proper peer is welcome after whatever happened."""
    other = await loopback.start(A)
    introduce([node, other])
    await other.notes.until_event("up", node.me)


async def test_a_node_of_another_cluster_is_refused_and_both_say_why(warned: Warned) -> None:
    async with Loopback() as loopback:
        stranger = await loopback.start(A, cluster="staging")
        node = await loopback.start(B)
        introduce([stranger, node])
        await warned.until(A, "b-0 refused this node, wrong-cluster: node b-0 belongs to cluster 'test'")
        await warned.until(B, "wrong-cluster: node b-0 belongs to cluster 'test', a-0 to 'staging'")
        assert stranger.notes.events == node.notes.events == []


async def test_a_newer_major_version_is_refused_and_both_say_why(warned: Warned) -> None:
    async with Loopback() as loopback:
        newer = await loopback.start(A, version=(2, 0))
        node = await loopback.start(B, version=(1, 7))
        introduce([newer, node])
        await warned.until(A, "newer-version: a-0 speaks protocol 2.0, node b-0 only up to major 1: upgrade b-0 first")
        await warned.until(B, "newer-version")
        assert newer.notes.events == node.notes.events == []


async def test_the_dialling_side_refuses_a_newer_major_version_before_the_other_believes_in_it(
    warned: Warned,
) -> None:
    async with Loopback() as loopback:
        node = await loopback.start(A, version=(1, 7))
        newer = await loopback.start(B, version=(2, 0))
        introduce([newer, node])
        await warned.until(A, "this node refused b-0, newer-version")
        await warned.until(B, "a-0 refused this node, newer-version")
        assert newer.notes.events == node.notes.events == []


async def test_another_minor_version_is_welcome() -> None:
    async with Loopback() as loopback:
        nodes = [await loopback.start(A, version=(1, 7)), await loopback.start(B, version=(1, 2))]
        introduce(nodes)
        await nodes[0].notes.until_event("up", B)
        await nodes[1].notes.until_event("up", A)


async def test_a_node_that_is_no_peer_is_refused_until_it_is_one(warned: Warned) -> None:
    async with Loopback() as loopback:
        newcomer, node = await loopback.start(A), await loopback.start(B)
        newcomer.mesh.set_peers({B: node.address})
        await warned.until(A, "unknown-node: node b-0 does not expect a-0: add a-0 to the cluster")
        assert node.notes.events == []
        node.mesh.set_peers({A: newcomer.address})
        await node.notes.until_event("up", A)


class Refusals(Forgetful):
    """Notes who does not talk to this node, and why."""

    def __init__(self) -> None:
        self.codes: list[tuple[str, str]] = []
        self.told = asyncio.Event()

    def refused(self, by: str, code: str, reason: str) -> None:
        self.codes.append((by, code))
        self.told.set()


async def test_a_node_that_is_removed_while_it_is_connected_learns_that_too() -> None:
    async with Loopback() as loopback:
        # given two nodes that are connected
        refusals = Refusals()
        staying, removed = await loopback.start(A), await loopback.start(B, acquaintances=refusals)
        introduce([staying, removed])
        await removed.notes.until_event("up", A)

        # when one of them belongs no more
        staying.mesh.set_peers({})
        await removed.notes.until_event("down", A, False)

        # then it is told why
        assert refusals.codes == [(A, "unknown-node")]


async def test_a_node_that_dials_nobody_learns_that_it_was_removed_while_it_was_away() -> None:
    async with Loopback() as loopback:
        # given a node that only waits to be dialled, and others of which one does not know it any more
        refusals = Refusals()
        departed = await loopback.start(C, MeshSettings(silence_timeout=Millis(50)), acquaintances=refusals)
        former, stopped = await loopback.start(A), await loopback.start(B)
        stopped_at = stopped.address
        await stopped.mesh.close()

        # when nobody is connected with it for a while
        departed.mesh.set_peers({A: former.address, B: stopped_at})

        # then it asks, and is told
        async with asyncio.timeout(PATIENCE):
            await refusals.told.wait()
        assert refusals.codes[0] == (A, "unknown-node")


async def test_a_node_that_is_waited_for_is_told_to_wait_and_nothing_comes_of_it() -> None:
    async with Loopback() as loopback:
        # given one that knows the other, and looks for it where it is not
        refusals = Refusals()
        waiting = await loopback.start(B, MeshSettings(silence_timeout=Millis(50)), acquaintances=refusals)
        mistaken = await loopback.start(A)
        mistaken.mesh.set_peers({B: "127.0.0.1:1"})
        waiting.mesh.set_peers({A: mistaken.address})
        async with asyncio.timeout(PATIENCE):
            await refusals.told.wait()
        assert refusals.codes[0] == (A, "wrong-direction")

        # when it finds it
        mistaken.mesh.set_peers({B: waiting.address})

        # then they are connected, once
        await waiting.notes.until_event("up", A)
        assert waiting.notes.events == [("up", A)]


async def test_a_node_at_the_wrong_address_is_found_out(warned: Warned) -> None:
    async with Loopback() as loopback:
        a, b, c = [await loopback.start(name) for name in (A, B, C)]
        b.mesh.set_peers({A: a.address})
        c.mesh.set_peers({A: a.address})
        a.mesh.set_peers({B: c.address})
        await warned.until(A, "wrong-node: a-0 looks for b-0, this is c-0: check the address of b-0")
        assert c.notes.events == []


async def test_a_refusal_names_its_code_on_the_wire() -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B)
        peer = await RawPeer.connect(node)
        peer.send(HELLO, encode(Hello(1, 0, "test", "x-9", "b-0", "control")))
        assert decode_refused(await peer.read_until(REFUSED)).code == "unknown-node"
        await peer.until_closed()
        await peer.close()


NOT_UTF8 = b"\x96\x01\x00\xa1\x80\xa1\x80\xa1\x80\xa1\x80"
OVERSIZED = header(HELLO, bytes(100_000))
MALFORMED = {
    "http": b"GET / HTTP/1.1\r\nHost: b-0\r\n\r\n",
    "zeros": bytes(64),
    "a length over the limit": OVERSIZED,
    "a frame before the hello": header(PAYLOAD, b"x") + b"x",
    "ready before the hello": header(READY, b""),
    "a hello that is none": header(HELLO, b"\xc1\xc1") + b"\xc1\xc1",
    "a hello with text that is none": header(HELLO, NOT_UTF8) + NOT_UTF8,
    "a hello nested without end": header(HELLO, b"\x91" * 4_000) + b"\x91" * 4_000,
    "a damaged hello": header(HELLO, b"abc") + b"abd",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_bytes_close_their_connection_only(sent: bytes, warned: Warned) -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B)
        peer = await RawPeer.connect(node)
        peer.writer.write(sent)
        await peer.until_closed()
        await peer.close()
        assert any("malformed bytes" in reason for reason in warned.reasons(B))
        assert node.count("broker_mesh_refusals") == 1
        await still_serves(loopback, node)


async def test_a_second_hello_instead_of_ready_is_malformed(warned: Warned) -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B)
        node.mesh.set_peers({A: "127.0.0.1:1"})
        peer = await RawPeer.connect(node)
        peer.send(HELLO, encode(Hello(1, 0, "test", A, B, "control")))
        peer.send(HELLO, encode(Hello(1, 0, "test", A, B, "control")))
        await peer.until_closed()
        await peer.close()
        assert any("expected Ready" in reason for reason in warned.reasons(B))
        assert node.notes.events == []


async def test_who_never_finishes_the_handshake_is_dropped(warned: Warned) -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B, MeshSettings(handshake_timeout=Millis(30)))
        peer = await RawPeer.connect(node)
        peer.writer.write(header(HELLO, b"abc")[:7])
        await peer.until_closed()
        await peer.close()
        await warned.until(B, "no Hello within 30 ms")
        await still_serves(loopback, node)


async def test_strangers_are_bounded_and_the_oldest_makes_room(warned: Warned) -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B, MeshSettings(max_strangers=3))
        strangers = [await RawPeer.connect(node) for _ in range(4)]
        await strangers[0].until_closed()
        await warned.until(B, "more than 3 connections wait for their handshake")
        await still_serves(loopback, node)
        for stranger in strangers:
            await stranger.close()


async def test_strangers_are_turned_away_when_the_node_stops() -> None:
    async with Loopback() as loopback:
        node = await loopback.start(B)
        stranger = await RawPeer.connect(node)
        stranger.send(HELLO, encode(Hello(1, 0, "test", "x-9", "b-0", "bulk")))
        await stranger.read_until(REFUSED)
        silent = await RawPeer.connect(node)
        await node.mesh.close()
        await silent.until_closed()
        await stranger.close()
        await silent.close()

"""The peer port, from a node that is known: nonsense ends its connection, possible or not, and the node goes on."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from broker.transport.frames import CLOSING, PAYLOAD, PING
from broker.transport.handshake import Closing, encode
from tests.fuzz.examples import many
from tests.fuzz.fuzzed_node import fuzzed_node, settled
from tests.fuzz.peer_strategies import other_payloads, peer_frames
from tests.fuzz.wires import damaged, framed

wire_frames = st.one_of(
    peer_frames.map(lambda payload: framed(PAYLOAD, payload)),
    st.builds(
        lambda payload, position, flip, keep: framed(PAYLOAD, damaged(payload, position, flip, keep)),
        peer_frames,
        st.integers(0, 300),
        st.integers(1, 255),
        st.integers(0, 100),
    ),
    other_payloads.map(lambda payload: framed(PAYLOAD, payload)),
    st.builds(framed, st.integers(0, 255), other_payloads),
    st.just(framed(PING, b"")),
    st.builds(lambda stopping, reason: framed(CLOSING, encode(Closing(stopping, reason))), st.booleans(), st.text()),
)
sayings = st.one_of(
    st.lists(peer_frames.map(lambda payload: framed(PAYLOAD, payload)), min_size=1, max_size=6).map(b"".join),
    st.lists(wire_frames, min_size=1, max_size=6).map(b"".join),
    st.builds(
        damaged,
        st.lists(wire_frames, min_size=1, max_size=3).map(b"".join),
        st.integers(0, 10_000),
        st.integers(0, 255),
        st.integers(0, 200),
    ),
)


@many
@given(st.lists(sayings, min_size=1, max_size=4), st.lists(st.integers(1, 200), max_size=8))
def test_a_node_survives_whatever_a_known_peer_says(said: list[bytes], sizes: list[int]) -> None:
    async def scenario() -> None:
        async with fuzzed_node() as node:
            for each in said:
                end = node.connect()
                end.feed(each, sizes)
                await settled()
                assert end.connection.open or end.connection.ending
                end.lose()
                await settled()
                await node.pass_time(3_000)
            await node.answers_honest_peers()

    asyncio.run(scenario())


def test_a_frame_that_is_none_ends_its_connection_with_the_reason() -> None:
    async def scenario() -> None:
        async with fuzzed_node() as node:
            end = node.connect()
            end.feed(framed(PAYLOAD, b"\xc1 nonsense"))
            assert not end.connection.open
            assert end.connection.ending.startswith("malformed bytes: not a frame of messages and calls")
            await node.answers_honest_peers()

    asyncio.run(scenario())

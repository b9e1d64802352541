"""Bulk transfers from a known peer: whatever it sends, the node keeps a bounded part of it and tells how it ended."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.replication import transfer
from broker.replication.transfer import SnapshotHeader
from broker.transport.chunks import BulkReceipt, Total
from broker.transport.frames import BULK_DONE, BULK_END, BULK_FAILED, BULK_HEADER, BULK_PIECE
from broker.transport.settings import MeshSettings
from tests.fuzz.examples import many
from tests.fuzz.fuzzed_node import PEER, FuzzedNode, fuzzed_node, settled
from tests.fuzz.peer_strategies import entries, marks, numbers, other_payloads
from tests.fuzz.wires import End, damaged, framed
from tests.unit.replication.single_node import GROUP

WINDOW = 1_000
headers = st.one_of(
    st.builds(SnapshotHeader, st.just(GROUP), marks).map(transfer.encode_header),
    st.builds(SnapshotHeader, numbers, marks).map(transfer.encode_header),
    other_payloads,
)
pieces = st.one_of(
    st.lists(entries, max_size=3).map(lambda each: bytes([transfer.ENTRIES]) + msgspec.msgpack.encode(each)),
    st.binary(max_size=30).map(lambda piece: bytes([transfer.DUMP]) + piece),
    other_payloads,
)
totals = st.builds(
    lambda length, off: Total(length, length & 0xFFFF ^ off).encode(), st.integers(0, 2**40), st.integers(1, 9)
)
"""Never what has arrived: a dump that is whole is believed, as all that a leader says of its group."""
frames = st.one_of(
    headers.map(lambda header: framed(BULK_HEADER, header)),
    pieces.map(lambda piece: framed(BULK_PIECE, piece)),
    totals.map(lambda total: framed(BULK_END, total)),
    st.sampled_from([framed(BULK_DONE, b""), framed(BULK_FAILED, b"no")]),
    st.builds(framed, st.integers(0, 255), other_payloads),
)
orderly = st.builds(
    lambda header, sent, end: framed(BULK_HEADER, header) + b"".join(framed(BULK_PIECE, each) for each in sent) + end,
    headers,
    st.lists(pieces, max_size=4),
    totals.map(lambda total: framed(BULK_END, total)),
)
sayings = st.one_of(
    orderly,
    st.lists(frames, max_size=6).map(b"".join),
    st.builds(damaged, orderly, st.integers(0, 1_000), st.integers(0, 255), st.integers(0, 100)),
)


def receiving(node: FuzzedNode) -> tuple[End, list[BulkReceipt]]:
    ended: list[BulkReceipt] = []

    def begin(receipt: BulkReceipt, header: bytes) -> None:
        node.scope.start(receipt.consume(node.engine.bulk_received(PEER, header, receipt)), name="bulk")

    receipt = BulkReceipt(PEER, WINDOW, begin, ended.append)
    end = End(receipt, node.scope, MeshSettings(bulk_window_bytes=WINDOW))
    end.connection.admit(receipt)
    return end, ended


@many
@given(sayings, st.lists(st.integers(1, 200), max_size=8))
def test_a_node_survives_any_bulk_transfer(said: bytes, sizes: list[int]) -> None:
    async def scenario() -> None:
        async with fuzzed_node() as node:
            end, ended = receiving(node)
            end.feed(said, sizes)
            for _ in range(5):
                await settled()
            end.lose()
            for _ in range(5):
                await settled()
            assert len(ended) == 1
            await node.answers_honest_peers()

    asyncio.run(scenario())


def test_a_sender_faster_than_the_receiver_is_held_back() -> None:
    async def scenario() -> None:
        async with fuzzed_node() as node:
            receipt = BulkReceipt(PEER, WINDOW, lambda *_: None, lambda _: None)
            end = End(receipt, node.scope)
            end.connection.admit(receipt)
            end.feed(framed(BULK_HEADER, b"") + framed(BULK_PIECE, bytes(WINDOW)))
            assert not end.wire.reading
            end.lose()

    asyncio.run(scenario())

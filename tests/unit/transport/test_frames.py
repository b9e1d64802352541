"""Frames survive any splitting of the stream, and no damage to it goes unnoticed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.transport.frames import HEADER_SIZE, Frame, FrameBuffer, FrameError, header

frames_lists = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=12)
LIMIT = 1_000


def wire(frames: list[Frame]) -> bytes:
    return b"".join(header(kind, payload) + payload for kind, payload in frames)


def receive(buffer: FrameBuffer, data: bytes, most: int = 1_000_000) -> list[Frame]:
    """Feeds ``data`` as the event loop would: into what is writable, taking after each read."""
    taken: list[Frame] = []
    while data:
        room = buffer.writable()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        buffer.filled(count)
        data = data[count:]
        while True:
            frames = buffer.take(most)
            taken += frames
            if len(frames) < most:
                break
    return taken


@given(frames_lists, st.lists(st.integers(1, 700), max_size=20), st.integers(1, 64), st.integers(1, 5))
def test_any_split_gives_the_same_frames(frames: list[Frame], sizes: list[int], capacity: int, most: int) -> None:
    buffer = FrameBuffer(LIMIT, capacity)
    data = wire(frames)
    taken: list[Frame] = []
    for size in sizes:
        taken += receive(buffer, data[:size], most)
        data = data[size:]
    taken += receive(buffer, data, most)
    assert taken == frames


@given(frames_lists.filter(bool), st.data())
def test_any_flipped_bit_is_detected_or_the_frame_never_comes(frames: list[Frame], data: st.DataObject) -> None:
    sent = bytearray(wire(frames))
    position = data.draw(st.integers(0, len(sent) - 1))
    sent[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(FrameError):
        receive(FrameBuffer(LIMIT, 64), bytes(sent))


@given(st.binary(min_size=HEADER_SIZE, max_size=200))
def test_a_strangers_bytes_are_refused_by_the_first_header(garbage: bytes) -> None:
    length, guard = struct.unpack_from("<II", garbage)
    if length ^ guard == 0x3F01D5E7:
        return
    with pytest.raises(FrameError, match="not a frame header"):
        receive(FrameBuffer(LIMIT, 64), garbage)


def test_a_payload_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert receive(FrameBuffer(LIMIT, 64), wire([(4, bytes(LIMIT))])) == [(4, bytes(LIMIT))]
    with pytest.raises(FrameError, match="1001 bytes is over the limit of 1000"):
        receive(FrameBuffer(LIMIT, 64), header(4, bytes(LIMIT + 1)))


def test_a_claimed_length_allocates_nothing() -> None:
    buffer = FrameBuffer(frame_limit=1 << 30, capacity=1024)
    claimed = (1 << 30).to_bytes(4, "little")
    guard = ((1 << 30) ^ 0x3F01D5E7).to_bytes(4, "little")
    assert receive(buffer, claimed + guard + bytes(5)) == []
    assert len(buffer.writable()) <= 1024


def test_memory_grows_with_what_arrived_and_shrinks_when_large_frames_stop() -> None:
    buffer = FrameBuffer(frame_limit=1 << 20, capacity=1024)
    large, small = (4, bytes(100_000)), (4, b"small")
    assert receive(buffer, wire([large])) == [large]
    assert 100_000 < len(buffer.writable()) < 300_000
    for _ in range(300):
        assert receive(buffer, wire([small])) == [small]
    assert len(buffer.writable()) == 1024


def test_limits_can_be_raised_between_two_frames_that_came_together() -> None:
    buffer = FrameBuffer(frame_limit=8, capacity=16)
    hello, large = (1, b"hello"), (4, bytes(100))
    data = wire([hello, large])
    room = buffer.writable()
    room[:] = data[: len(room)]
    buffer.filled(len(room))
    assert buffer.take(1) == []
    data = data[len(room) :]
    room = buffer.writable()
    count = min(len(room), len(data))
    room[:count] = data[:count]
    buffer.filled(count)
    assert buffer.take(1) == [hello]
    buffer.widen(frame_limit=1000, capacity=64)
    assert receive(buffer, data[count:]) == [large]


def test_frames_are_taken_no_more_than_asked() -> None:
    buffer = FrameBuffer(LIMIT, 1024)
    data = wire([(4, b"one"), (4, b"two")])
    buffer.writable()[: len(data)] = data
    buffer.filled(len(data))
    assert buffer.take(1) == [(4, b"one")]
    assert buffer.take(5) == [(4, b"two")]
    assert buffer.take(5) == []

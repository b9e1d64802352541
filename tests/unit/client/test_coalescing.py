"""What goes into a frame: all that waits, in order, within the limits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from broker.client.coalescing import Coalescer, FrameLimits


def test_everything_that_waits_goes_at_once() -> None:
    # given three small items
    coalescer: Coalescer[str] = Coalescer(FrameLimits(max_messages=10, max_bytes=100))
    for item in "abc":
        coalescer.add(item, 5)

    # when a frame is taken
    # then it has all three, and nothing waits
    assert coalescer.take() == ["a", "b", "c"]
    assert len(coalescer) == 0
    assert coalescer.waiting_bytes == 0


def test_an_item_larger_than_a_frame_goes_alone() -> None:
    # given an item that exceeds the limit between two that do not
    coalescer: Coalescer[str] = Coalescer(FrameLimits(max_messages=10, max_bytes=100))
    for item, size in (("small", 1), ("huge", 1_000), ("last", 1)):
        coalescer.add(item, size)

    # when frames are taken until nothing waits
    # then it has one of its own
    assert [coalescer.take() for _ in range(3)] == [["small"], ["huge"], ["last"]]


@given(
    sizes=st.lists(st.integers(0, 50), max_size=60),
    max_messages=st.integers(1, 12),
    max_bytes=st.integers(1, 120),
)
def test_frames_keep_order_and_limits_and_are_as_full_as_can_be(
    sizes: list[int], max_messages: int, max_bytes: int
) -> None:
    # given items of any sizes
    coalescer: Coalescer[int] = Coalescer(FrameLimits(max_messages, max_bytes))
    for number, size in enumerate(sizes):
        coalescer.add(number, size)

    # when everything is taken
    frames = []
    while coalescer:
        assert coalescer.waiting_bytes == sum(sizes[sum(map(len, frames)) :])
        frames.append(coalescer.take())

    # then nothing is lost or reordered
    assert [item for frame in frames for item in frame] == list(range(len(sizes)))
    for frame in frames:
        # and each frame keeps the limits, unless it has one item alone
        assert len(frame) <= max_messages
        assert sum(sizes[item] for item in frame) <= max_bytes or len(frame) == 1
    for frame, following in pairwise(frames):
        # and the next item would not have fitted
        assert len(frame) == max_messages or sum(sizes[item] for item in [*frame, following[0]]) > max_bytes

"""Frames made by joining bytes are the frames that protobuf would have made."""

from __future__ import annotations

import pytest

from broker.pb.queues.v1 import queues_pb2
from loadtest.frames import encoded_messages, numbered


@pytest.mark.parametrize("frame", [1, 127, 128, 300, 2**32])
def test_a_joined_frame_reads_like_a_made_one(frame: int) -> None:
    read = queues_pb2.ProduceRequest.FromString(numbered(frame, encoded_messages(b"body", 3)))
    assert read == queues_pb2.ProduceRequest(frame=frame, messages=[queues_pb2.OutgoingMessage(body=b"body")] * 3)

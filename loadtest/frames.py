"""Produces pre-encoded frames over a raw gRPC stream: what the brokers cost when the sender costs nothing.

Speaks the wire directly instead of through the client library, whose work would take processor time from the brokers
under measurement.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import grpc.aio

from broker.base.errors import Overloaded
from broker.base.limits import MIB
from broker.pb.queues.v1 import queues_pb2

_METHOD = "/broker.queues.v1.QueueService/Produce"
_FRAME_FIELD = queues_pb2.ProduceRequest.DESCRIPTOR.fields_by_name["frame"].number << 3


class FrameRefused(Exception):
    """The broker did not take a frame; the message is the broker's."""


def encoded_messages(body: bytes, count: int) -> bytes:
    """The part of a ProduceRequest that all frames share."""
    message = queues_pb2.OutgoingMessage(body=body)
    return queues_pb2.ProduceRequest(messages=[message] * count).SerializeToString()


def numbered(frame: int, messages: bytes) -> bytes:
    """A whole ProduceRequest: protobuf lets fields be joined, so only the number is encoded anew."""
    return bytes((_FRAME_FIELD, *_varint(frame))) + messages


class FrameSender:
    """Sends ``frames`` equal frames with at most ``outstanding`` unconfirmed at a time; what an overloaded node refuses
    goes again."""

    def __init__(self, address: str, queue: str, session: bytes, outstanding: int) -> None:
        self._address = address
        self._open = queues_pb2.ProduceRequest(
            open=queues_pb2.ProduceRequest.Open(queue=queue, session=session)
        ).SerializeToString()
        self._outstanding = outstanding
        self._free = asyncio.Semaphore(0)
        self._again: deque[int] = deque()
        self.accepted = 0
        """Messages confirmed."""
        self.refused = 0
        """Frames that went again."""

    async def send(self, messages: bytes, frames: int) -> None:
        """Raises FrameRefused; AioRpcError when the stream breaks."""
        options = [("grpc.max_receive_message_length", 16 * MIB), ("grpc.max_send_message_length", 16 * MIB)]
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            call = channel.stream_stream(
                _METHOD,
                request_serializer=bytes,
                response_deserializer=queues_pb2.ProduceResponse.FromString,
            )(self._requests(messages, frames))
            confirmed = 0
            async for response in call:
                if response.HasField("error") and response.error.code == Overloaded.code:
                    self.refused += 1
                    self._again.append(response.frame)
                    self._free.release()
                    continue
                if response.HasField("error"):
                    raise FrameRefused(f"frame {response.frame}: {response.error.code}: {response.error.message}")
                if response.window:
                    for _ in range(min(self._outstanding, response.window)):
                        self._free.release()
                    continue
                self.accepted += response.accepted
                confirmed += 1
                self._free.release()
                if confirmed == frames:
                    break

    async def _requests(self, messages: bytes, frames: int) -> AsyncIterator[bytes]:
        yield self._open
        fresh = iter(range(1, frames + 1))
        while True:
            await self._free.acquire()
            frame = self._again.popleft() if self._again else next(fresh, None)
            if frame is not None:
                yield numbered(frame, messages)


def _varint(number: int) -> list[int]:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return [*groups, number]

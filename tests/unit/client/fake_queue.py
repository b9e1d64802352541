"""A queue in memory, for the fake broker: it stores, delivers and deletes, and keeps what tests want to count."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from broker.base.errors import BrokerError, MessageTooLong, ReceiptHandleExpired
from broker.pb.queues.v1 import queues_pb2


@dataclass
class StoredMessage:
    id: bytes
    body: bytes
    attributes: list[queues_pb2.MessageAttribute]
    delay_ms: int | None
    receive_count: int = 0


@dataclass
class StoredQueue:
    attributes: queues_pb2.QueueAttributes
    stored: list[StoredMessage] = field(default_factory=list)
    """Every message ever stored, in order: what a test counts."""
    visible: deque[StoredMessage] = field(default_factory=deque)
    in_flight: dict[bytes, StoredMessage] = field(default_factory=dict)
    deleted: list[bytes] = field(default_factory=list)
    """Bodies, in the order of their deletion."""
    extensions: list[tuple[bytes, int]] = field(default_factory=list)
    frames: dict[tuple[bytes, int], queues_pb2.ProduceResponse] = field(default_factory=dict)
    deliveries: dict[bytes, list[queues_pb2.ConsumeResponse]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def send(self, message: queues_pb2.OutgoingMessage) -> StoredMessage:
        number = len(self.stored)
        delay = message.delay_ms if message.HasField("delay_ms") else None
        stored = StoredMessage(((7 << 96) + number).to_bytes(16, "big"), message.body, list(message.attributes), delay)
        self.stored.append(stored)
        self.visible.append(stored)
        return stored

    def receive(self, count: int) -> list[queues_pb2.DeliveredMessage]:
        return [self._deliver(self.visible.popleft()) for _ in range(min(count, len(self.visible)))]

    def _deliver(self, message: StoredMessage) -> queues_pb2.DeliveredMessage:
        message.receive_count += 1
        handle = message.id + message.receive_count.to_bytes(4, "big")
        self.in_flight[handle] = message
        return queues_pb2.DeliveredMessage(
            message_id=message.id,
            receipt_handle=handle,
            body=message.body,
            attributes=message.attributes,
            receive_count=message.receive_count,
            sent_at=1_700_000_000_000,
            first_received_at=1_700_000_000_500,
        )

    def delete(self, handle: bytes) -> None:
        message = self._held(handle)
        del self.in_flight[handle]
        self.deleted.append(message.body)

    def change(self, handle: bytes, timeout_ms: int) -> None:
        message = self._held(handle)
        if timeout_ms:
            self.extensions.append((message.body, timeout_ms))
        else:
            del self.in_flight[handle]
            self.visible.appendleft(message)

    def _held(self, handle: bytes) -> StoredMessage:
        if handle not in self.in_flight:
            raise ReceiptHandleExpired(f"receipt handle {handle.hex()} has expired")
        return self.in_flight[handle]


def store(queue: StoredQueue, request: queues_pb2.ProduceRequest) -> queues_pb2.ProduceResponse:
    limit = queue.attributes.message_size_limit
    failed, ids = [], []
    for place, message in enumerate(request.messages):
        if len(message.body) > limit:
            error = MessageTooLong(f"the message has {len(message.body)} bytes; the queue takes up to {limit}")
            failed.append(queues_pb2.EntryError(entry=place, error=info(error)))
        else:
            ids.append(queue.send(message).id)
    return queues_pb2.ProduceResponse(
        frame=request.frame, first_message_id=ids[0] if ids else b"", accepted=len(ids), failed=failed
    )


def attempt(actions: list[tuple[Any, ...]]) -> list[queues_pb2.EntryError]:
    failed = []
    for place, (action, *arguments) in enumerate(actions):
        try:
            action(*arguments)
        except BrokerError as error:
            failed.append(queues_pb2.EntryError(entry=place, error=info(error)))
    return failed


def info(error: BrokerError) -> queues_pb2.ErrorInfo:
    return queues_pb2.ErrorInfo(code=error.code, message=str(error), retryable=error.retryable)

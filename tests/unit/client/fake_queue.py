"""A queue in memory, for the fake broker: it stores, delivers and deletes, and keeps what tests want to count."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from broker.base.errors import BrokerError, MessageTooLong, NotScheduled, ReceiptHandleExpired
from broker.pb.queues.v1 import queues_pb2


@dataclass
class StoredMessage:
    id: bytes
    body: bytes
    attributes: list[queues_pb2.MessageAttribute]
    delay_ms: int | None
    message_group: str = ""
    deduplication_id: str = ""
    deliver_at: int = 0
    time_to_live_ms: int = 0
    sequence_number: int = 0
    receive_count: int = 0
    origin: queues_pb2.Origin | None = None


@dataclass
class StoredQueue:
    attributes: queues_pb2.QueueAttributes
    fifo: bool = False
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
    returned: list[bytes] = field(default_factory=list)
    """Bodies of what was given back as if it had not been received."""
    scheduled: dict[bytes, StoredMessage] = field(default_factory=dict)
    suspended_until: int | None = None
    moves: list[queues_pb2.Move] = field(default_factory=list)

    def send(self, message: queues_pb2.OutgoingMessage) -> StoredMessage:
        """A FIFO queue stores a deduplication id once, for ever."""
        if self.fifo and message.deduplication_id:
            for found in self.stored:
                if found.deduplication_id == message.deduplication_id:
                    return found
        number = len(self.stored)
        stored = StoredMessage(
            ((7 << 96) + number).to_bytes(16, "big"),
            message.body,
            list(message.attributes),
            message.delay_ms if message.HasField("delay_ms") else None,
            message.message_group,
            message.deduplication_id,
            message.deliver_at,
            message.time_to_live_ms,
            number + 1 if self.fifo else 0,
        )
        self.stored.append(stored)
        if stored.deliver_at:
            self.scheduled[stored.id] = stored
        else:
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
            message_group=message.message_group,
            deduplication_id=message.deduplication_id,
            sequence_number=message.sequence_number,
            origin=message.origin,
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

    def give_back(self, handle: bytes) -> None:
        message = self._held(handle)
        message.receive_count -= 1
        self.returned.append(message.body)
        self.change(handle, 0)

    def cancel(self, message_id: bytes) -> None:
        if message_id not in self.scheduled:
            raise NotScheduled(f"message {message_id.hex()} is not scheduled")
        del self.scheduled[message_id]

    def _held(self, handle: bytes) -> StoredMessage:
        if handle not in self.in_flight:
            raise ReceiptHandleExpired(f"receipt handle {handle.hex()} has expired")
        return self.in_flight[handle]


def store(queue: StoredQueue, request: queues_pb2.ProduceRequest) -> queues_pb2.ProduceResponse:
    limit = queue.attributes.message_size_limit
    failed: list[queues_pb2.EntryError] = []
    sent: list[StoredMessage | None] = []
    for place, message in enumerate(request.messages):
        if len(message.body) > limit:
            error = MessageTooLong(f"the message has {len(message.body)} bytes; the queue takes up to {limit}")
            failed.append(queues_pb2.EntryError(entry=place, error=info(error)))
            sent.append(None)
        else:
            sent.append(queue.send(message))
    accepted = [found for found in sent if found is not None]
    response = queues_pb2.ProduceResponse(frame=request.frame, accepted=len(accepted), failed=failed)
    numbers = [int.from_bytes(found.id, "big") for found in accepted]
    if not numbers or numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        response.first_message_id = accepted[0].id if accepted else b""
        response.first_sequence_number = accepted[0].sequence_number if accepted else 0
    else:
        response.message_ids.extend(found.id if found else b"" for found in sent)
        if queue.fifo:
            response.sequence_numbers.extend(found.sequence_number if found else 0 for found in sent)
    return response


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

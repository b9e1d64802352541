"""A message as a consumer's loop sees it: its content, and the ways to answer it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from broker.base.ids import MessageId
from broker.client.model import Attribute, Origin
from broker.client.settling import ACK, EXTEND, NACK, RETURN, Settlement
from broker.client.units import to_millis
from broker.client.wire import attributes_of, origin_of
from broker.pb.queues.v1 import queues_pb2


class Holder(Protocol):
    """Whose messages they are: takes the answers to them."""

    def settle(self, settlement: Settlement) -> Settlement: ...

    def return_group(self, message_group: str) -> None:
        """Give back what waits of the message group and was not handed out."""


class Message:
    """One delivery. Answer it with ``ack`` when it is done, with ``nack`` to have it delivered again at once.

    ``expires_at``: when its visibility timeout ends, in seconds of the event loop's clock.
    """

    __slots__ = ("_delivered", "_holder", "expires_at")

    def __init__(self, delivered: queues_pb2.DeliveredMessage, expires_at: float, holder: Holder) -> None:
        self._delivered = delivered
        self._holder = holder
        self.expires_at = expires_at

    @property
    def id(self) -> MessageId:
        return MessageId.from_bytes(self._delivered.message_id)

    @property
    def body(self) -> bytes:
        return self._delivered.body

    @property
    def attributes(self) -> dict[str, Attribute]:
        return attributes_of(self._delivered)

    @property
    def receipt_handle(self) -> bytes:
        return self._delivered.receipt_handle

    @property
    def receive_count(self) -> int:
        """1 at the first delivery."""
        return self._delivered.receive_count

    @property
    def sent_at(self) -> float:
        """Seconds since the Unix epoch."""
        return self._delivered.sent_at / 1000

    @property
    def first_received_at(self) -> float:
        """Seconds since the Unix epoch."""
        return self._delivered.first_received_at / 1000

    @property
    def message_group(self) -> str | None:
        return self._delivered.message_group or None

    @property
    def deduplication_id(self) -> str | None:
        return self._delivered.deduplication_id or None

    @property
    def sequence_number(self) -> int | None:
        """Of FIFO queues; grows within a message group."""
        return self._delivered.sequence_number or None

    @property
    def origin(self) -> Origin | None:
        """Where it was before it was moved to this queue, as a dead letter for instance."""
        return origin_of(self._delivered)

    def ack(self) -> Settlement:
        """Deletes the message. Goes out with the next request; ``await message.ack()`` waits for the confirmation."""
        return self._holder.settle(Settlement(ACK, self._delivered.receipt_handle))

    def nack(self) -> Settlement:
        """Makes the message visible again at once. Of a FIFO queue, what waits here of the same message group is given
        back with it, so that the order is kept."""
        delivered = self._delivered
        settlement = self._holder.settle(Settlement(NACK, delivered.receipt_handle))
        if delivered.sequence_number:
            self._holder.return_group(delivered.message_group)
        return settlement

    def give_back(self) -> Settlement:
        """As ``nack``, and as if the message had not been delivered: it does not count as received."""
        return self._holder.settle(Settlement(RETURN, self._delivered.receipt_handle))

    def extend(self, visibility_timeout: float) -> Settlement:
        """Keeps the message invisible for so many seconds from now. Raises InvalidArgument."""
        timeout_ms = to_millis(visibility_timeout, "visibility_timeout")
        self.expires_at = asyncio.get_running_loop().time() + visibility_timeout
        return self._holder.settle(Settlement(EXTEND, self._delivered.receipt_handle, timeout_ms))

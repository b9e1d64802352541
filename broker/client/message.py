"""A message as a consumer's loop sees it: its content, and the three ways to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.base.ids import MessageId
from broker.client.model import Attribute, attributes_of, to_millis
from broker.client.settling import ACK, EXTEND, NACK, Settlement
from broker.pb.queues.v1 import queues_pb2


class Message:
    """One delivery. Answer it with ``ack`` when it is done, with ``nack`` to have it delivered again at once.

    ``expires_at``: when its visibility timeout ends, in seconds of the event loop's clock.
    """

    __slots__ = ("_delivered", "_settle", "expires_at")

    def __init__(
        self,
        delivered: queues_pb2.DeliveredMessage,
        expires_at: float,
        settle: Callable[[Settlement], Settlement],
    ) -> None:
        self._delivered = delivered
        self._settle = settle
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

    def ack(self) -> Settlement:
        """Deletes the message. Goes out with the next request; ``await message.ack()`` waits for the confirmation."""
        return self._settle(Settlement(ACK, self._delivered.receipt_handle))

    def nack(self) -> Settlement:
        """Makes the message visible again at once."""
        return self._settle(Settlement(NACK, self._delivered.receipt_handle))

    def extend(self, visibility_timeout: float) -> Settlement:
        """Keeps the message invisible for so many seconds from now. Raises InvalidArgument."""
        timeout_ms = to_millis(visibility_timeout, "visibility_timeout")
        self.expires_at = asyncio.get_running_loop().time() + visibility_timeout
        return self._settle(Settlement(EXTEND, self._delivered.receipt_handle, timeout_ms))

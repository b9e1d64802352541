"""How the answer to a frame reaches those who wait for its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator

from broker.base.errors import BrokerError
from broker.base.ids import MessageId
from broker.client.errors import PartlyRefused, of_info
from broker.client.model import SentMessage
from broker.client.outbox import Frame
from broker.pb.queues.v1 import queues_pb2


class OneTicket:
    """One message, one future."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[SentMessage]) -> None:
        self.future = future

    def accepted(self, position: int, sent: SentMessage) -> None:  # noqa: ARG002
        if not self.future.done():
            self.future.set_result(sent)

    def refused(self, position: int, error: BrokerError) -> None:  # noqa: ARG002
        if not self.future.done():
            self.future.set_exception(error)


class BatchTicket:
    """A batch with one future for all."""

    __slots__ = ("_missing", "_outcomes", "future")

    def __init__(self, count: int, future: asyncio.Future[list[SentMessage | BrokerError]]) -> None:
        self.future = future
        self._missing = count
        self._outcomes: list[SentMessage | BrokerError | None] = [None] * count

    def accepted(self, position: int, sent: SentMessage) -> None:
        self._settle(position, sent)

    def refused(self, position: int, error: BrokerError) -> None:
        self._settle(position, error)

    def _settle(self, position: int, outcome: SentMessage | BrokerError) -> None:
        self._outcomes[position] = outcome
        self._missing -= 1
        if not self._missing and not self.future.done():
            self.future.set_result([found for found in self._outcomes if found is not None])


def tell(frame: Frame, response: queues_pb2.ProduceResponse) -> None:
    """Tells everyone who waits for the frame what became of it."""
    failed = {refused.entry: of_info(refused.error) for refused in response.failed}
    if response.message_ids:
        told = _listed(response)
    elif failed or response.first_sequence_number:
        told = _counted_up(response, len(frame.messages), failed)
    else:
        _tell_all(frame, MessageId.from_bytes(response.first_message_id))
        return
    for place, (waiting, sent) in enumerate(zip(frame.messages, told, strict=True)):
        error = failed.get(place)
        if error is not None:
            waiting.ticket.refused(waiting.position, error)
        else:
            waiting.ticket.accepted(waiting.position, sent)


def _tell_all(frame: Frame, first: MessageId) -> None:
    """The ordinary case: all are accepted, and their ids follow one another."""
    group, index = first.group, first.index
    for slot, waiting in enumerate(frame.messages, first.slot):
        waiting.ticket.accepted(waiting.position, SentMessage(MessageId(group, index, slot)))


def _counted_up(response: queues_pb2.ProduceResponse, count: int, failed: Container[int]) -> Iterator[SentMessage]:
    """One per message; the ids of the accepted ones follow one another."""
    first = MessageId.from_bytes(response.first_message_id) if response.accepted else MessageId(0, 0, 0)
    number = response.first_sequence_number
    accepted = 0
    for place in range(count):
        sent = MessageId(first.group, first.index, first.slot + accepted)
        yield SentMessage(sent, number + accepted if number else None)
        accepted += place not in failed


def _listed(response: queues_pb2.ProduceResponse) -> Iterator[SentMessage]:
    """One per message; those that failed have no id of their own."""
    numbers = response.sequence_numbers or [0] * len(response.message_ids)
    for raw, number in zip(response.message_ids, numbers, strict=True):
        yield SentMessage(MessageId.from_bytes(raw) if raw else MessageId(0, 0, 0), number or None)


def all_sent(outcomes: list[SentMessage | BrokerError]) -> list[SentMessage]:
    """The same list, if nothing was refused. Raises the error common to all, or PartlyRefused."""
    refused = [outcome for outcome in outcomes if isinstance(outcome, BrokerError)]
    if not refused:
        return [outcome for outcome in outcomes if isinstance(outcome, SentMessage)]
    if len(refused) == len(outcomes) and len({(error.code, str(error)) for error in refused}) == 1:
        raise refused[0]
    raise PartlyRefused(outcomes)

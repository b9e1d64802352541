"""Sending to a queue and deleting what was received from another one, or from the same, as one step: both or neither.

One entry of one group's log does both, so the queues must live in one group. This room must not know what the messages
mean to whoever exchanges them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from broker.base.errors import DifferentGroups, QueueNotFound, ReceiptHandleInvalid, Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.directory.commands import Resource
from broker.domain.queues.commands import Delete, Exchange, Sent
from broker.domain.queues.model import Handle, is_fifo
from broker.domain.queues.validation import check_batch, check_queue_name
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services import handles
from broker.services.directory import Directory
from broker.services.judging import judge
from broker.services.lifecycle import KIND, no_such_queue
from broker.services.outgoing import Outgoing, Packed
from broker.services.replies import Failures, accepted_as
from broker.services.routing import Routing
from broker.services.sending import ROOM, SendAnswer, describe, must_answer
from broker.services.sent import Part, SendResult, sent
from broker.services.striping import stripe_of_message_group
from broker.services.use_cases import UseCase


class ExchangeRequest(msgspec.Struct, frozen=True, array_like=True):
    """``packed`` goes to ``queue``; ``handles`` are of ``source``, in the same group."""

    queue: QueueId
    packed: Packed
    source: QueueId
    handles: tuple[Handle, ...]
    request: RequestId


class Exchanging:
    def __init__(self, groups: Groups, routing: Routing, directory: Directory) -> None:
        self._groups = groups
        self._routing = routing
        self._directory = directory
        self._exchanging = UseCase("queues.exchange", ExchangeRequest, SendAnswer, self._exchange_here)
        routing.locator.serve(self._exchanging)

    async def exchange(
        self,
        name: str,
        outgoing: Outgoing,
        delete_from: str,
        receipt_handles: Sequence[bytes],
        deadline: Millis,
        request: RequestId | None,
    ) -> SendResult:
        check_queue_name(name)
        check_queue_name(delete_from)
        _must_take_all(outgoing.refused)
        check_batch(len(receipt_handles))

        async def under(own: RequestId) -> SendAnswer:
            return await self._exchange(name, outgoing.packed, delete_from, receipt_handles, deadline, own)

        answer = await self._routing.under(request, under)
        return sent(outgoing, is_fifo(name), (Part(answer, outgoing.places),))

    async def _exchange(
        self,
        name: str,
        packed: Packed,
        delete_from: str,
        receipt_handles: Sequence[bytes],
        deadline: Millis,
        request: RequestId,
    ) -> SendAnswer:
        """Queues that are not where they were are looked up once more."""
        anew = False
        while True:
            to = await self._located(name, anew, deadline)
            source = await self._located(delete_from, anew, deadline)
            held = _decoded(receipt_handles, QueueId(source.id))
            holding = {handles.group_of(handle) or source.group for handle in receipt_handles}
            taking = _taking(to, packed)
            group = next(iter(holding))
            if holding == {group} and group in taking:
                wanted = ExchangeRequest(QueueId(to.id), packed, QueueId(source.id), held, request)
                try:
                    return await self._routing.locator.on_leader(group, self._exchanging, wanted, deadline)
                except QueueNotFound:
                    if anew:
                        raise
            elif anew:
                raise DifferentGroups(
                    f"queue {name!r} lives in group {_listed(to.groups)} and {delete_from!r} in group "
                    f"{_listed(holding)}, one step works within one group: create one of them anew beside the other"
                )
            anew = True

    async def _located(self, name: str, anew: bool, deadline: Millis) -> Resource:
        """Raises QueueNotFound."""
        found = None if anew else self._directory.known(KIND, name)
        found = found or await self._directory.find(KIND, name, deadline)
        if found is None:
            raise no_such_queue(name)
        return found

    async def _exchange_here(self, group: GroupId, wanted: ExchangeRequest, deadline: Millis) -> SendAnswer:
        """Raises QueueNotFound, what a message is refused with, ReceiptHandleExpired, and what proposing raises."""
        groups = self._groups
        describe(groups, group, wanted.source)  # a refusal would be remembered under the request id
        command, refused = judge(wanted.packed, describe(groups, group, wanted.queue), groups.clock.wall())
        _must_take_all(refused)
        assert command is not None  # a batch has at least one message, and none was refused
        exchange = Exchange(wanted.queue, command, Delete(wanted.source, wanted.handles))
        remaining = Millis(deadline - groups.clock.monotonic())
        reply = accepted_as(Sent, await groups.propose(group, ROOM, exchange, remaining, wanted.request))
        must_answer(reply, command)
        return SendAnswer(group, reply.index, reply.count, reply.at, (), reply.duplicates)


def _taking(queue: Resource, packed: Packed) -> set[GroupId]:
    """The groups in which the queue may take all of these messages."""
    if not is_fifo(queue.name) or not queue.stripes:
        return set(queue.groups)
    chosen = {stripe_of_message_group(queue.stripes, message_group) for message_group in packed.groups or [""]}
    return chosen if len(chosen) == 1 else set()


def _listed(groups: Iterable[GroupId]) -> str:
    return " and ".join(map(str, sorted(groups)))


def _must_take_all(refused: Failures) -> None:
    """Raises the error of the first message that was refused, saying which one."""
    for place, refusal in refused:
        raise Refusal(refusal.code, f"message {place}: {refusal.message}; nothing was sent or deleted").to_error()


def _decoded(receipt_handles: Sequence[bytes], queue: QueueId) -> tuple[Handle, ...]:
    decoded: list[Handle] = []
    for place, handle in enumerate(receipt_handles):
        try:
            decoded.append(handles.decode(handle, queue))
        except ReceiptHandleInvalid as error:
            raise ReceiptHandleInvalid(f"receipt handle {place}: {error}; nothing was sent or deleted") from None
    return tuple(decoded)

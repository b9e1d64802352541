"""Sending to a queue that may be spread over several groups, so that what is sent again is stored once.

A batch for a FIFO queue is divided by message group. A batch for a standard queue goes to one stripe: under a caller's
request id always to the same one, otherwise to a near one.

The id can be used once in each group: to store the batch, or to claim the id, which does nothing. When the stripes have
changed lately, a sender first claims the id wherever the batch may have gone before: then it has been stored there
already, or never will be. A sender who finds it claimed does not know the newest stripes and looks for them. If it
still belongs to that group, it has been moved to and fro, and the batch is stored there under an id derived from it,
one for each layout of the stripes. Whoever finds an id claimed by others before claims these, too.

This room must not know what a message is, nor how it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from broker.base.errors import BatchEmpty, InvalidArgument, QueueNotFound
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.directory.commands import Former, Resource
from broker.domain.directory.stripes import FORMER_LIFETIME
from broker.domain.queues.commands import ChangeVisibility, Refused, Sent
from broker.domain.queues.model import is_fifo
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.outgoing import Outgoing, Packed
from broker.services.replies import accepted_as
from broker.services.request_ids import SESSION_BYTES
from broker.services.routing import Outdated, Routing
from broker.services.sending import ROOM, SendAnswer, Sending, SendRequest
from broker.services.sent import Part
from broker.services.striping import Turns, stripe_of_message_group, stripe_of_session
from broker.services.together import all_of
from broker.services.use_cases import UseCase


class ClaimRequest(msgspec.Struct, frozen=True, array_like=True):
    """Use the request id up for nothing, unless it has been used."""

    queue: QueueId
    request: RequestId


class ClaimAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``sent``: it had been used to store a batch. ``before``: it had been claimed."""

    sent: Sent | None
    before: bool


class _Attempts(msgspec.Struct):
    """Of one call. ``own``: the request id is this node's, nobody else uses it. ``tried``: groups that may have stored
    the batch; ``claimed``: groups where the id was found claimed, before the queue was last looked up."""

    request: RequestId
    own: bool
    tried: set[GroupId]
    claimed: set[GroupId]


class Spreading:
    def __init__(self, groups: Groups, routing: Routing, turns: Turns) -> None:
        self._groups = groups
        self._routing = routing
        self._locator = routing.locator
        self._turns = turns
        self._sending = UseCase("queues.send", SendRequest, SendAnswer, Sending(groups).send)
        self._claiming: UseCase[ClaimRequest, ClaimAnswer] = UseCase(
            "queues.claim", ClaimRequest, ClaimAnswer, self._claim_here
        )
        self._locator.serve(self._sending)
        self._locator.serve(self._claiming)

    async def send(
        self, name: str, outgoing: Outgoing, deadline: Millis, request: RequestId | None
    ) -> tuple[Part, ...]:
        """Returns when all is stored. A batch that failed as a whole may be sent again under its request id, and no
        message is stored twice.

        Raises InvalidName, QueueNotFound, and what sending raises.
        """

        async def call(own: RequestId) -> tuple[Part, ...]:
            if is_fifo(name):

                async def divided(resource: Resource, _: bool) -> tuple[Part, ...]:
                    return await self._by_message_group(resource, outgoing, own, deadline)

                return await self._routing.found(name, divided, deadline)
            attempts = _Attempts(own, request is None, set(), set())

            async def whole(resource: Resource, _: bool) -> tuple[Part, ...]:
                answer = await self._to_one_stripe(resource, outgoing.packed, attempts, deadline)
                return (Part(answer, outgoing.places),)

            return await self._routing.found(name, whole, deadline)

        return await self._routing.under(request, call)

    # --- a standard queue

    async def _to_one_stripe(
        self, resource: Resource, packed: Packed, attempts: _Attempts, deadline: Millis
    ) -> SendAnswer:
        queue, request = QueueId(resource.id), attempts.request
        group = resource.group
        if resource.stripes:
            own = attempts.own
            group = self._turns.to_send(queue, resource.stripes) if own else _stripe(resource.stripes, request)
        formerly = [] if attempts.own or not resource.former else self._formerly(resource)
        elsewhere = {_stripe(former.stripes, request) for former in formerly} | attempts.tried
        elsewhere.discard(group)
        moved = group in attempts.claimed
        if elsewhere:
            cells = [(other, request) for other in sorted(elsewhere)]
            stored, before = await self._claim(cells, queue, packed, deadline)
            if stored is not None:
                return stored
            moved = moved or before
        if moved:
            cells = [(_stripe(former.stripes, request), _derived(request, former.layout)) for former in formerly]
            stored, _ = await self._claim(cells, queue, packed, deadline)
            if stored is not None:
                return stored
        attempts.tried.add(group)
        if group in attempts.claimed:
            request = _derived(request, resource.layout)
        try:
            return await self._locator.on_leader(group, self._sending, SendRequest(queue, packed, request), deadline)
        except BatchEmpty:  # claimed by somebody who knows other stripes
            pass
        except QueueNotFound:  # gone from that group, or claimed while it was not there
            if not resource.version:  # it has always been there alone
                raise
            stored, _ = await self._claim([(group, request)], queue, packed, deadline)
            if stored is not None:
                return stored
        attempts.claimed.add(group)
        raise Outdated

    def _formerly(self, resource: Resource) -> list[Former]:
        """The stripes that it had, as far back as anybody remembers what was sent there."""
        since = self._groups.clock.wall() - FORMER_LIFETIME
        return [former for former in resource.former if former.until > since]

    async def _claim(
        self, cells: Sequence[tuple[GroupId, RequestId]], queue: QueueId, packed: Packed, deadline: Millis
    ) -> tuple[SendAnswer | None, bool]:
        """What one of them was used for to store, if one was; otherwise none will be. And whether others had claimed
        any of them."""
        found = await all_of(
            self._locator.on_leader(group, self._claiming, ClaimRequest(queue, request), deadline)
            for group, request in cells
        )
        for (group, request), answer in zip(cells, found, strict=True):
            if answer.sent is not None:
                return await self._stored(group, request, queue, packed, answer.sent, deadline), False
        return None, any(answer.before for answer in found)

    async def _stored(
        self, group: GroupId, request: RequestId, queue: QueueId, packed: Packed, sent: Sent, deadline: Millis
    ) -> SendAnswer:
        if sent.count == len(packed.sizes):
            return SendAnswer(group, sent.index, sent.count, sent.at, (), sent.duplicates)
        try:  # some were refused: the same again says which
            return await self._locator.on_leader(group, self._sending, SendRequest(queue, packed, request), deadline)
        except QueueNotFound:
            raise InvalidArgument(
                f"the request id was used for a batch of which {sent.count} messages were stored, in a group that the "
                f"queue has left: which of {len(packed.sizes)} they were is not known any more"
            ) from None

    async def _claim_here(self, group: GroupId, wanted: ClaimRequest, deadline: Millis) -> ClaimAnswer:
        """Also where the queue is not any more. Raises InvalidArgument when the id was used for something else, and
        what proposing raises."""
        groups, request = self._groups, wanted.request
        remembered = groups.replay(group, request.session, request.number - 1)
        before = bool(remembered) and remembered[0][0] == request.number
        reply: Any
        if before:
            reply = remembered[0][1]
        else:
            remaining = Millis(deadline - groups.clock.monotonic())
            reply = await groups.propose(group, ROOM, ChangeVisibility(wanted.queue, (), ()), remaining, request)
        return (
            ClaimAnswer(None, before) if isinstance(reply, Refused) else ClaimAnswer(accepted_as(Sent, reply), before)
        )

    # --- a FIFO queue

    async def _by_message_group(
        self, resource: Resource, outgoing: Outgoing, request: RequestId, deadline: Millis
    ) -> tuple[Part, ...]:
        """All stripes must have stored their part. They are told in the order of the calls, so that batches that one
        sender hands over one after the other keep their order."""
        queue, packed = QueueId(resource.id), outgoing.packed
        if not resource.stripes:
            wanted = SendRequest(queue, packed, request)
            answer = await self._locator.on_leader(resource.group, self._sending, wanted, deadline)
            return (Part(answer, outgoing.places),)
        places: dict[GroupId, list[int]] = {}
        for place, message_group in enumerate(packed.groups or [""] * len(packed.sizes)):
            places.setdefault(stripe_of_message_group(resource.stripes, message_group), []).append(place)
        answers = await all_of(
            self._locator.on_leader(
                group,
                self._sending,
                SendRequest(queue, packed if len(places) == 1 else packed.selected(own), request),
                deadline,
            )
            for group, own in places.items()
        )
        return tuple(
            Part(answer, own).within(outgoing.places) for answer, own in zip(answers, places.values(), strict=True)
        )


def _stripe(stripes: tuple[GroupId, ...], request: RequestId) -> GroupId:
    return stripe_of_session(stripes, request.session)


def _derived(request: RequestId, layout: int) -> RequestId:
    """Of the layout of that number alone. The number of the request stays: sessions remember the latest."""
    name = request.session + layout.to_bytes(8, "big")
    return RequestId(blake2b(name, digest_size=SESSION_BYTES, person=b"layout").digest(), request.number)

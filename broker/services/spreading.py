"""Sending to a queue that may be spread over several groups, so that what is sent again is stored once.

A batch for a standard queue goes to one stripe: under a caller's request id always to the same one, otherwise to a near
one. When the stripes have changed lately, the stripe to which the id belonged before is asked first: either it has
stored the batch already, or it never will. A batch for a FIFO queue is divided by message group.
This room must not know what a message is, nor how it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from broker.base.errors import BatchEmpty, InvalidArgument, QueueNotFound
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.directory.commands import Resource
from broker.domain.directory.stripes import FORMER_LIFETIME
from broker.domain.queues.commands import ChangeVisibility, Refused, Sent
from broker.domain.queues.model import is_fifo
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.outgoing import Outgoing, Packed
from broker.services.replies import accepted_as
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


class _Attempts(msgspec.Struct):
    """Of one call. ``request`` is the caller's own, or of this node: nobody else uses it. ``tried``: stripes that may
    have stored the batch."""

    request: RequestId
    own: bool
    tried: set[GroupId]


class Spreading:
    def __init__(self, groups: Groups, routing: Routing, turns: Turns) -> None:
        self._groups = groups
        self._routing = routing
        self._locator = routing.locator
        self._turns = turns
        self._sending = UseCase("queues.send", SendRequest, SendAnswer, Sending(groups).send)
        self._claiming: UseCase[ClaimRequest, Sent | None] = UseCase(
            "queues.claim", ClaimRequest, Sent | None, self._claim_here
        )
        self._locator.serve(self._sending)
        self._locator.serve(self._claiming)

    async def send(
        self, name: str, outgoing: Outgoing, deadline: Millis, request: RequestId | None
    ) -> tuple[Part, ...]:
        """Returns when all is stored. A batch that failed as a whole may be sent again under its request id, and no
        message is stored twice.

        Raises InvalidName, QueueNotFound, InvalidArgument, and what sending raises.
        """

        async def call(own: RequestId) -> tuple[Part, ...]:
            if is_fifo(name):

                async def divided(resource: Resource, _: bool) -> tuple[Part, ...]:
                    return await self._by_message_group(resource, outgoing, own, deadline)

                return await self._routing.found(name, divided, deadline)
            attempts = _Attempts(own, request is None, set())

            async def whole(resource: Resource, fresh: bool) -> tuple[Part, ...]:
                answer = await self._to_one_stripe(resource, fresh, outgoing.packed, attempts, deadline)
                return (Part(answer, outgoing.places),)

            return await self._routing.found(name, whole, deadline)

        return await self._routing.under(request, call)

    # --- a standard queue

    async def _to_one_stripe(
        self, resource: Resource, fresh: bool, packed: Packed, attempts: _Attempts, deadline: Millis
    ) -> SendAnswer:
        queue, request = QueueId(resource.id), attempts.request
        group = resource.group
        if resource.stripes:
            group = (
                self._turns.to_send(queue, resource.stripes)
                if attempts.own
                else stripe_of_session(resource.stripes, request.session)
            )
        elsewhere = attempts.tried | (set() if attempts.own else self._formerly(resource, request.session))
        elsewhere.discard(group)
        if elsewhere:
            stored = await self._stored(elsewhere, queue, packed, request, deadline)
            if stored is not None:
                return stored
        attempts.tried.add(group)
        try:
            return await self._locator.on_leader(group, self._sending, SendRequest(queue, packed, request), deadline)
        except BatchEmpty:  # the number is used up: somebody who knows other stripes has looked for the batch here
            if not fresh:
                raise Outdated from None
            raise InvalidArgument(
                f"request {request.number} of the session is used up, and nothing was stored under it: the stripes of "
                f"queue {resource.name!r} changed twice while it was sent; send again under a new number"
            ) from None

    def _formerly(self, resource: Resource, session: bytes) -> set[GroupId]:
        """Where batches of the session went before, as far back as anybody remembers them."""
        if not resource.former:
            return set()
        since = self._groups.clock.wall() - FORMER_LIFETIME
        return {stripe_of_session(former.stripes, session) for former in resource.former if former.until > since}

    async def _stored(
        self, groups: Iterable[GroupId], queue: QueueId, packed: Packed, request: RequestId, deadline: Millis
    ) -> SendAnswer | None:
        """What one of the groups has answered to the request; None: no one has, and no one will any more."""
        chosen = sorted(groups)
        wanted = ClaimRequest(queue, request)
        found = await all_of(self._locator.on_leader(group, self._claiming, wanted, deadline) for group in chosen)
        for group, sent in zip(chosen, found, strict=True):
            if sent is None:
                continue
            if sent.count == len(packed.sizes):
                return SendAnswer(group, sent.index, sent.count, sent.at, (), sent.duplicates)
            try:  # some were refused: the same again says which
                return await self._locator.on_leader(
                    group, self._sending, SendRequest(queue, packed, request), deadline
                )
            except QueueNotFound:
                raise InvalidArgument(
                    f"the request id was used for a batch of which {sent.count} messages were stored, in a group that "
                    f"the queue has left: which of {len(packed.sizes)} they were is not known any more"
                ) from None
        return None

    async def _claim_here(self, group: GroupId, wanted: ClaimRequest, deadline: Millis) -> Sent | None:
        """Also where the queue is not any more. Raises InvalidArgument when the id was used for something else, and
        what proposing raises."""
        groups, request = self._groups, wanted.request
        remembered = groups.replay(group, request.session, request.number - 1)
        reply: Any
        if remembered and remembered[0][0] == request.number:
            reply = remembered[0][1]
        else:
            remaining = Millis(deadline - groups.clock.monotonic())
            reply = await groups.propose(group, ROOM, ChangeVisibility(wanted.queue, (), ()), remaining, request)
        return None if isinstance(reply, Refused) else accepted_as(Sent, reply)

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
            Part(answer, _composed(outgoing.places, own)) for answer, own in zip(answers, places.values(), strict=True)
        )


def _composed(places: Sequence[int] | None, own: Sequence[int]) -> Sequence[int]:
    """Positions in the caller's batch of the messages at ``own`` in what was packed."""
    return own if places is None else [places[place] for place in own]

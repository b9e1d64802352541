"""Receiving on the queue's leader: long polling without a log entry, content from the log, bounded answers.

A Receive is proposed only when something is visible, and again while it finds nothing but dead letters and there is
time. What does not fit into one answer is made visible again at once.
This room must not know names of queues or where leaders are: the service above has found both.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.errors import BatchEmpty, BrokerError, InvalidArgument, NotForStandard, OverLimit
from broker.base.ids import GroupId, MessageId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import MIB
from broker.domain.queues.commands import ChangeVisibility, Deliveries, Delivery, Receive, Refused, Results
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import Attribute, Handle, Message, Origin, is_fifo
from broker.domain.queues.questions import HasVisible
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services import handles
from broker.services.contents import Contents
from broker.services.dwell import DwellTimes
from broker.services.replies import accepted, accepted_as
from broker.services.request_ids import further
from broker.services.sending import ROOM, describe

ANSWER_SIZE = 3 * MIB
"""Bytes of content in one answer: with its frame it stays below the 4 MiB that gRPC clients accept by default."""
_OVERHEAD = 128
"""Bytes that a message takes in an answer beside what is counted one by one, at most."""
_ORIGIN = 192
"""Bytes that an origin takes, at most."""

MAX_LARGE_QUEUES = 10_000
"""Queues of large messages that are remembered as such."""
_RESERVE = Millis(500)
"""Of the time until the deadline, what is left for the Receive itself after a wait."""


class ReceiveRequest(msgspec.Struct, frozen=True, array_like=True):
    """``wait`` and ``visibility_timeout`` in milliseconds, None: the queue's. A number of ``request`` is answered once:
    the same again gives the same messages. ``attempt``: of FIFO queues, the receive-attempt id, or ""."""

    queue: QueueId
    max_messages: int
    wait: Millis | None
    visibility_timeout: Millis | None
    request: RequestId
    attempt: str = ""


class Received(msgspec.Struct, frozen=True, array_like=True):
    """``group``, ``deduplication``, ``trace``: "" for none. ``sequence_number``: of FIFO queues, 0 otherwise.
    ``origin``: where it was before it was moved here."""

    id: bytes
    handle: bytes
    body: bytes
    attributes: tuple[Attribute, ...]
    receive_count: int
    sent_at: WallMillis
    first_received_at: WallMillis
    group: str = ""
    deduplication: str = ""
    sequence_number: int = 0
    origin: Origin | None = None
    trace: str = ""


class ReceiveAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``used``: the request id is used up. Without messages and used, there were only dead letters; without messages
    and unused, nothing was visible and nothing proposed."""

    messages: list[Received]
    used: bool


class WaitRequest(msgspec.Struct, frozen=True, array_like=True):
    """``wait`` in milliseconds."""

    queue: QueueId
    wait: Millis


class WaitAnswer(msgspec.Struct, frozen=True, array_like=True):
    visible: bool


class ReplayRequest(msgspec.Struct, frozen=True, array_like=True):
    """What ``session`` was handed out under numbers above ``after`` and still holds, held for another
    ``visibility_timeout``. From here on the session is the asker's: whoever used it before gets nothing more."""

    queue: QueueId
    session: bytes
    after: int
    visibility_timeout: Millis | None


class ReplayAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``last``: the highest number the session has used, at least ``after`` of the request."""

    deliveries: list[tuple[int, list[Received]]]
    last: int


class Receiving:
    def __init__(self, groups: Groups, contents: Contents, dwell_times: DwellTimes) -> None:
        self._groups = groups
        self._contents = contents
        self._dwell_times = dwell_times
        self._largest: dict[QueueId, int] = {}
        """Size of the largest message of the last answer of queues whose messages are large, to ask for fewer."""

    async def receive(self, group: GroupId, wanted: ReceiveRequest, deadline: Millis) -> ReceiveAnswer:
        """Raises QueueNotFound, NotForStandard, OverLimit, DataCorrupt, and what proposing raises. Empty when the wait
        is over."""
        groups, wait, request, step = self._groups, wanted.wait, wanted.request, 0
        if wait is None or wanted.attempt:
            described = describe(groups, group, wanted.queue)
            wait = described.attributes.receive_wait if wait is None else wait
            if wanted.attempt and not is_fifo(described.name):
                raise NotForStandard(
                    f"receive-attempt id {wanted.attempt!r} is not for standard queue {described.name!r}: leave it out"
                )
        until = min(Millis(groups.clock.monotonic() + wait), Millis(deadline - _RESERVE))
        while True:
            reply = self._remembered(group, request)
            if reply is None:
                blind = wanted.attempt and step == 0  # what it took before is in flight
                if not blind and not await self._something_visible(group, wanted.queue, until):
                    return ReceiveAnswer([], step > 0)
                reply = await groups.propose(group, ROOM, self._command(wanted), self._remaining(deadline), request)
                messages = await self._answer(group, wanted.queue, reply, deadline)
                self._measure(group, wanted.queue, messages)
            else:
                messages = await self._answer(group, wanted.queue, reply, deadline)
            if messages or groups.clock.monotonic() >= until:
                return ReceiveAnswer(messages, True)
            step += 1
            request = further(wanted.request, step)

    async def wait(self, group: GroupId, wanted: WaitRequest, deadline: Millis) -> WaitAnswer:
        """Until something is visible or the wait is over. Changes nothing: may be cancelled. Raises QueueNotFound."""
        until = min(deadline, Millis(self._groups.clock.monotonic() + wanted.wait))
        return WaitAnswer(await self._something_visible(group, wanted.queue, until))

    async def replay(self, group: GroupId, wanted: ReplayRequest, deadline: Millis) -> ReplayAnswer:
        """Raises QueueNotFound, DataCorrupt, and what proposing raises."""
        timeout = wanted.visibility_timeout
        if timeout is None:
            timeout = describe(self._groups, group, wanted.queue).attributes.visibility_timeout
        last = await self._claim(group, wanted, deadline)
        again: list[tuple[int, list[Received]]] = []
        for number, reply in self._groups.replay(group, wanted.session, wanted.after):
            if isinstance(reply, Deliveries):
                held = await self._still_held(group, wanted.queue, reply.deliveries, timeout, deadline)
                messages = self._contents_of(group, wanted.queue, held)[0]
                if messages:
                    again.append((number, messages))
        return ReplayAnswer(again, last)

    def _remembered(self, group: GroupId, request: RequestId) -> Any:
        replies = self._groups.replay(group, request.session, request.number - 1)
        return replies[0][1] if replies and replies[0][0] == request.number else None

    def _command(self, wanted: ReceiveRequest) -> Receive:
        count = min(wanted.max_messages, max(1, ANSWER_SIZE // self._largest.get(wanted.queue, 1)))
        return Receive(wanted.queue, count, wanted.visibility_timeout, wanted.attempt)

    async def _claim(self, group: GroupId, wanted: ReplayRequest, deadline: Millis) -> int:
        """Use up the session's next number for nothing; returns it.

        A predecessor on another node may be about to take messages under that number. A number works once: either the
        predecessor was first, and its messages are among those to be replayed, or it is refused from now on.
        """
        used = self._groups.replay(group, wanted.session, wanted.after)
        number = used[-1][0] if used else wanted.after
        while True:
            number += 1
            own = RequestId(wanted.session, number)
            nothing = ChangeVisibility(wanted.queue, (), ())
            reply = await self._groups.propose(group, ROOM, nothing, self._remaining(deadline), own)
            if _is_claim(reply):
                return number
            if not isinstance(reply, Deliveries) and not _is_refusal(reply, OverLimit):
                accepted(reply)

    def _measure(self, group: GroupId, queue: QueueId, messages: list[Received]) -> None:
        times = self._dwell_times
        if not times.known(queue):
            times.introduce(queue, describe(self._groups, group, queue).name)
        times.handed_out(queue, (message.sent_at for message in messages), self._groups.clock.wall())

    async def _something_visible(self, group: GroupId, queue: QueueId, until: Millis) -> bool:
        groups = self._groups
        while True:
            if accepted(groups.peek(group, ROOM, HasVisible(queue))):
                return True
            remaining = Millis(until - groups.clock.monotonic())
            if remaining <= 0:
                return False
            await groups.woken(group, ("queue", queue), remaining)

    async def _answer(self, group: GroupId, queue: QueueId, reply: object, deadline: Millis) -> list[Received]:
        if _is_claim(reply):
            raise InvalidArgument("this session was opened again elsewhere: use a session for one stream at a time")
        deliveries = accepted_as(Deliveries, reply)
        messages, excess = self._contents_of(group, queue, deliveries.deliveries)
        if excess:
            await self._give_back(group, queue, excess, deadline)
        return messages

    async def _still_held(
        self, group: GroupId, queue: QueueId, deliveries: tuple[Delivery, ...], timeout: Millis, deadline: Millis
    ) -> tuple[Delivery, ...]:
        """Holds the deliveries for ``timeout`` ms from now; returns those that nobody else has meanwhile."""
        if not deliveries:
            return ()
        command = ChangeVisibility(queue, _handles(deliveries), (timeout,) * len(deliveries))
        results: Results = accepted(await self._groups.propose(group, ROOM, command, self._remaining(deadline)))
        gone = {position for position, _ in results.refused}
        return tuple(delivery for position, delivery in enumerate(deliveries) if position not in gone)

    async def _give_back(
        self, group: GroupId, queue: QueueId, deliveries: tuple[Delivery, ...], deadline: Millis
    ) -> None:
        """Visible again, and not received: nobody has seen them."""
        now = (Millis(0),) * len(deliveries)
        command = ChangeVisibility(queue, _handles(deliveries), now, uncounted=True)
        accepted(await self._groups.propose(group, ROOM, command, self._remaining(deadline)))

    def _contents_of(
        self, group: GroupId, queue: QueueId, deliveries: tuple[Delivery, ...]
    ) -> tuple[list[Received], tuple[Delivery, ...]]:
        """The messages delivered, as many as one answer may carry, and the deliveries beyond that."""
        messages: list[Received] = []
        size = largest = 0
        index, entry = -1, None
        fifo = self._is_fifo(group, queue, deliveries)
        for position, delivery in enumerate(deliveries):
            if delivery.index != index:
                index = delivery.index
                entry = self._contents.of_entry(group, index)
            if entry is None:  # deleted meanwhile, with all its neighbours
                continue
            message = entry.messages[delivery.slot]
            deduplication = "" if entry.deduplication is None else entry.deduplication[delivery.slot]
            own = size_in_answer(message, delivery.group, deduplication)
            if size + own > ANSWER_SIZE and messages:
                if len(self._largest) >= MAX_LARGE_QUEUES:
                    self._largest.clear()
                self._largest[queue] = max(largest, own)
                return messages, deliveries[position:]
            size += own
            largest = max(largest, own)
            messages.append(_received(group, queue, delivery, message, deduplication, fifo))
        if queue in self._largest and size < ANSWER_SIZE // 2:
            del self._largest[queue]
        return messages, ()

    def _is_fifo(self, group: GroupId, queue: QueueId, deliveries: tuple[Delivery, ...]) -> bool:
        """Every message of a FIFO queue has a message group; so the others need not be asked."""
        return bool(deliveries and deliveries[0].group) and is_fifo(describe(self._groups, group, queue).name)

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self._groups.clock.monotonic())


def _handles(deliveries: tuple[Delivery, ...]) -> tuple[Handle, ...]:
    return tuple(Handle(delivery.index, delivery.slot, delivery.receipt) for delivery in deliveries)


def size_in_answer(message: Message, group: str, deduplication: str) -> int:
    """Bytes, at most."""
    size = (message.size() if message.attributes else len(message.body)) + _OVERHEAD
    if group or deduplication or message.trace:
        size += len(group) + len(deduplication) + len(message.trace)
    return size if message.origin is None else size + _ORIGIN


def _is_claim(reply: object) -> bool:
    """A batch of no handles is refused; a receive is never refused in this way."""
    return _is_refusal(reply, BatchEmpty)


def _is_refusal(reply: object, error: type[BrokerError]) -> bool:
    return isinstance(reply, Refused) and reply.refusal.code == error.code


def _received(
    group: GroupId, queue: QueueId, delivery: Delivery, message: Message, deduplication: str, fifo: bool
) -> Received:
    index, slot = delivery.index, delivery.slot
    return Received(
        MessageId(group, index, slot).to_bytes(),
        handles.encode(group, queue, index, slot, delivery.receipt),
        message.body,
        message.attributes,
        delivery.receive_count,
        delivery.sent_at,
        delivery.first_received_at,
        delivery.group,
        deduplication,
        message_key(index, slot) if fifo else 0,
        message.origin,
        message.trace,
    )

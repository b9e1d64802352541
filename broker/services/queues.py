"""Queues as the front doors see them: one object, one method per use case, by the queue's name, on any node.

Each call is checked, admitted, located, carried out on the leaders of the queue's groups and answered. Deadlines are
instants of this node's monotonic clock in milliseconds. A call given a ``request`` id may be repeated under it, here or
on another node, and takes effect once. This room must not know who calls: protobuf and HTTP stop above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import InvalidArgument
from broker.base.ids import QueueId
from broker.base.instants import SECOND, Millis, WallMillis
from broker.base.limits import LIST_PAGE, MAX_RECEIVE_WAIT
from broker.domain.directory.commands import Resource
from broker.domain.queues.message_validation import check_attempt
from broker.domain.queues.model import NAMESPACE, is_fifo
from broker.domain.queues.validation import (
    check_max_messages,
    check_queue_name,
    check_receive_wait,
    check_visibility_timeout,
)
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.administering import Administering, AttributeChanges, DescribeRequest, Description
from broker.services.admission import Admission
from broker.services.browsing import BrowseAnswer, BrowseRequest, Browsing, CensusAnswer
from broker.services.contents import Contents
from broker.services.defining import Defining
from broker.services.directory import Directory
from broker.services.dwell import DwellTimes
from broker.services.exchanging import Exchanging
from broker.services.gathering import Gathering
from broker.services.lifecycle import KIND, Lifecycle, no_such_queue
from broker.services.locating import Locator
from broker.services.moving import MoveDescription, MoveTasks
from broker.services.outgoing import Outgoing
from broker.services.receiving import ReceiveAnswer, Received, ReceiveRequest, Receiving, ReplayAnswer
from broker.services.replies import Failures
from broker.services.request_ids import RequestIds
from broker.services.restriping import Restriping
from broker.services.routing import Routing
from broker.services.scheduling import Scheduling
from broker.services.sent import Part, SendResult, sent
from broker.services.settlements import Settlements
from broker.services.shared_calls import SharedCalls
from broker.services.spreading import Spreading
from broker.services.striping import Turns, summed
from broker.services.targets import Targets

_WAIT_MARGIN = Millis(5 * SECOND)
"""What a receive may take beyond its wait."""


class Page(msgspec.Struct, frozen=True):
    """``more``: ask again with ``after`` set to the last name."""

    names: tuple[str, ...]
    more: bool


class QueueService:
    def __init__(
        self,
        groups: Groups,
        locator: Locator,
        directory: Directory,
        request_ids: RequestIds,
        admission: Admission,
        contents: Contents,
        dwell_times: DwellTimes,
        scope: TaskScope,
    ) -> None:
        """``scope``: of calls that are on their way for several callers."""
        self.clock = groups.clock
        self._directory = directory
        self._admission = admission
        self._routing = Routing(locator, directory, request_ids, admission)
        administering = Administering(groups)
        self._lifecycle = Lifecycle(groups, locator, directory, administering)
        targets = Targets(directory)
        self._restriping = Restriping(groups, directory, self._lifecycle)
        self._defining = Defining(locator, self._routing, self._lifecycle, self._restriping, administering, targets)
        self._move_tasks = MoveTasks(groups, locator, directory, targets, request_ids)
        self._scheduling = Scheduling(groups, locator, self._routing)
        self._exchanging = Exchanging(groups, self._routing, directory)
        self._browsing = Browsing(groups, locator, self._routing, contents)
        turns = Turns(groups)
        self._spreading = Spreading(groups, self._routing, turns)
        self._gathering = Gathering(groups, self._routing, turns, Receiving(groups, contents, dwell_times))
        self._settlements = Settlements(groups, self._routing)
        together = (self._send_all, self._receive_all, self._delete_all, self._make_visible)
        self.shared = SharedCalls(*together, self.clock.monotonic, scope)

    # --- queues as a whole

    async def create(self, name: str, changes: AttributeChanges, deadline: Millis, beside: str = "") -> bool:
        """With defaults for what ``changes`` leaves out; whether it is new. ``beside``: in the group of that queue.

        Raises InvalidName, InvalidArgument, NotForStandard, RedriveTargetInvalid, RedriveNotAllowed, QueueExists (with
        other attributes, or in another group), QueueNotFound (for ``beside``).
        """
        return await self._routing.admitted(0, self._defining.create(name, changes, deadline, beside))

    async def update(
        self, name: str, changes: AttributeChanges, deadline: Millis, request: RequestId | None = None
    ) -> None:
        """Raises InvalidName, InvalidArgument, QueueNotFound, NotForStandard, RedriveTargetInvalid, RedriveNotAllowed,
        FixedAttribute, Conflict."""
        await self._routing.admitted(0, self._defining.update(name, changes, deadline, request))

    async def delete(self, name: str, deadline: Millis) -> None:
        """With all its messages. Raises InvalidName, QueueNotFound."""
        check_queue_name(name)
        await self._routing.admitted(0, self._lifecycle.delete(name, deadline))

    async def purge(self, name: str, deadline: Millis, request: RequestId | None = None) -> None:
        """Drop every message sent before. Raises InvalidName, QueueNotFound, PurgeInProgress."""

        async def under(own: RequestId) -> None:
            async def purge(resource: Resource, _: bool) -> None:
                await self._lifecycle.purge(resource, own, deadline)

            await self._routing.found(name, purge, deadline, anew=True)

        await self._routing.admitted(0, self._routing.under(request, under))

    async def names(self, prefix: str, after: str, limit: int, deadline: Millis) -> Page:
        """Names of queues, ascending, that start with ``prefix`` and come after ``after``; at most ``limit``. Those in
        namespaces only when ``prefix`` begins with one."""
        if not 1 <= limit <= LIST_PAGE:
            raise InvalidArgument(f"a page has 1 to {LIST_PAGE} names, not {limit}")
        found = await self._routing.admitted(0, self._directory.page(KIND, prefix, after, limit, deadline))
        names = tuple(resource.name for resource in found.resources)
        if not prefix.startswith(NAMESPACE) and names and names[-1].startswith(NAMESPACE):  # they come last
            return Page(tuple(name for name in names if not name.startswith(NAMESPACE)), False)
        return Page(names, found.more)

    async def describe(self, name: str, deadline: Millis) -> Description:
        """Attributes and exact counts: strong reads, in the directory and in each of its groups.

        Raises InvalidName, QueueNotFound.
        """

        async def describe(resource: Resource, _: bool) -> Description:
            question = DescribeRequest(QueueId(resource.id))
            found = await self._routing.on_all(resource, self._lifecycle.describing, question, deadline)
            return summed(resource, [description for _, description in found])

        return await self._routing.admitted(0, self._routing.found(name, describe, deadline, anew=True))

    async def finish(self, resource: Resource, deadline: Millis) -> None:
        """Bring a creation or deletion that was interrupted to its end; for the controller."""
        await self._lifecycle.finish(resource, deadline)

    async def tend(self, before: WallMillis, deadline: Callable[[], Millis]) -> None:
        """One step with every queue on its way to other groups; for the controller. What nobody has touched since
        ``before`` counts as interrupted."""
        await self._restriping.tend(before, deadline)

    # --- messages

    @property
    def send_target(self) -> Millis:
        """How long a send may take before the node takes on fewer at once."""
        return self._admission.send_target

    @property
    def calls_asked(self) -> int:
        """Of this node, so far."""
        return self._admission.asked

    def check_sends(self) -> None:
        """For a front door, before it spends anything on a send. Raises Overloaded."""
        self._admission.check_sends(self.clock.monotonic())

    def calls_wait(self, waited: Millis) -> None:
        """For a front door: calls wait before it, for so long that sends should make way."""
        self._admission.late(waited, self.clock.monotonic())

    def calls_are_quick(self) -> None:
        """For a front door: they do not wait before it, or no longer."""
        self._admission.at_ease()

    async def send(
        self, name: str, outgoing: Outgoing, deadline: Millis, request: RequestId | None = None
    ) -> SendResult:
        """Returns when a quorum has synced the messages. Raises InvalidName, QueueNotFound, Overloaded."""
        packed, known, monotonic = outgoing.packed, self._directory.known(KIND, name), self.clock.monotonic
        group = None if known is None else known.group
        admitted = self._admission.enter_send(len(packed.messages), len(packed.sizes), group, monotonic())
        stored = False
        try:
            if request is None:
                parts = await self.shared.sends.send(name, outgoing, deadline)
            else:
                parts = await self._spreading.send(name, outgoing, deadline, request)
            stored = True
        finally:
            self._admission.leave_send(admitted, monotonic(), stored)
        return sent(outgoing, is_fifo(name), parts)

    async def receive(
        self,
        name: str,
        max_messages: int,
        deadline: Millis,
        wait: Millis | None = None,
        visibility_timeout: Millis | None = None,
        request: RequestId | None = None,
        attempt: str = "",
    ) -> ReceiveAnswer:
        """Up to ``max_messages``, fewer when they are large; empty when the wait is over. None: what the queue says.
        ``attempt``: of FIFO queues, the receive-attempt id: what was taken under it lately is given again.

        Raises InvalidArgument, InvalidName, QueueNotFound, NotForStandard, OverLimit, Overloaded.
        """
        check_max_messages(max_messages)
        if wait is not None:
            check_receive_wait(wait)
        if visibility_timeout is not None:
            check_visibility_timeout(visibility_timeout)
        if attempt:
            check_attempt(attempt)
        longest = MAX_RECEIVE_WAIT if wait is None else wait
        deadline = min(deadline, Millis(self.clock.monotonic() + longest + _WAIT_MARGIN))

        def make(queue: QueueId, own: RequestId) -> ReceiveRequest:
            return ReceiveRequest(queue, max_messages, wait, visibility_timeout, own, attempt)

        self._admission.enter_receive(waits=longest > 0)
        try:
            if request is None and longest == 0 and not is_fifo(name):
                messages = await self.shared.receives.receive(name, max_messages, deadline, visibility_timeout)
                return ReceiveAnswer(messages, True)
            return await self._gathering.receive(name, make, deadline, request)
        finally:
            self._admission.leave_receive(waits=longest > 0)

    async def cancel(
        self, name: str, message_ids: Sequence[bytes], deadline: Millis, request: RequestId | None = None
    ) -> Failures:
        """Withdraw scheduled messages, by the ids that sending them gave: the entries that failed.

        Raises BatchEmpty, BatchTooLarge, InvalidName, QueueNotFound, NotForFifo.
        """
        return await self._routing.admitted(0, self._scheduling.cancel(name, message_ids, deadline, request))

    async def exchange(
        self,
        name: str,
        outgoing: Outgoing,
        delete_from: str,
        receipt_handles: Sequence[bytes],
        deadline: Millis,
        request: RequestId | None = None,
    ) -> SendResult:
        """Send to queue ``name`` and delete from ``delete_from`` what its handles hold: all of it, or nothing and an
        error.

        Raises BatchEmpty, BatchTooLarge, InvalidName, QueueNotFound, DifferentGroups, ReceiptHandleInvalid,
        ReceiptHandleExpired, and what a message is refused with.
        """
        call = self._exchanging.exchange(name, outgoing, delete_from, receipt_handles, deadline, request)
        return await self._routing.admitted(len(outgoing.packed.messages), call)

    async def browse(self, name: str, wanted: BrowseRequest, deadline: Millis) -> BrowseAnswer:
        """Messages by key, without receiving them. Raises InvalidArgument, InvalidName, QueueNotFound."""
        return await self._routing.admitted(0, self._browsing.browse(name, wanted, deadline))

    async def census(self, name: str, deadline: Millis) -> CensusAnswer:
        """How old the messages are, and whose. Raises InvalidName, QueueNotFound."""
        return await self._routing.admitted(0, self._browsing.census(name, deadline))

    async def receive_wait(self, name: str, deadline: Millis) -> Millis:
        """How long a receive waits that does not say how long. Raises InvalidName, QueueNotFound."""
        return await self._gathering.own_wait(name, deadline)

    async def wait_for_messages(self, name: str, wait: Millis, deadline: Millis) -> bool:
        """Whether something became visible within ``wait`` ms. Takes nothing, and so may be cancelled.

        Raises InvalidName, QueueNotFound.
        """
        return await self._gathering.wait(name, wait, deadline)

    async def must_exist(self, name: str, deadline: Millis) -> None:
        """Raises InvalidName, QueueNotFound. Afterwards this node knows where the queue is."""
        check_queue_name(name)
        if self._directory.known(KIND, name) is None and await self._directory.find(KIND, name, deadline) is None:
            raise no_such_queue(name)

    async def replay(
        self, name: str, session: bytes, after: int, visibility_timeout: Millis | None, deadline: Millis
    ) -> ReplayAnswer:
        """What ``receive`` handed out to requests of ``session`` with numbers above ``after`` and is still held by it.

        Raises InvalidName, QueueNotFound.
        """
        if visibility_timeout is not None:
            check_visibility_timeout(visibility_timeout)
        call = self._gathering.replay(name, session, after, visibility_timeout, deadline)
        return await self._routing.admitted(0, call)

    async def delete_messages(
        self, name: str, receipt_handles: Sequence[bytes], deadline: Millis, request: RequestId | None = None
    ) -> Failures:
        """The entries that failed. Raises BatchEmpty, BatchTooLarge, InvalidName, QueueNotFound."""
        if request is None:
            call = self.shared.deletes.delete(name, receipt_handles, deadline)
        else:
            call = self._settlements.delete(name, receipt_handles, deadline, request)
        return await self._routing.admitted(0, call)

    async def change_visibility(
        self,
        name: str,
        receipt_handles: Sequence[bytes],
        timeouts: Sequence[Millis],
        deadline: Millis,
        request: RequestId | None = None,
    ) -> Failures:
        """The entries that failed; ``timeouts`` in milliseconds from now, 0: visible at once.

        Raises BatchEmpty, BatchTooLarge, InvalidName, QueueNotFound.
        """
        call = self._settlements.change_visibility(name, receipt_handles, timeouts, deadline, request)
        return await self._routing.admitted(0, call)

    async def give_back(self, name: str, receipt_handles: Sequence[bytes], deadline: Millis) -> Failures:
        """Make visible again what was received and reached nobody: it does not count as received. The entries that
        failed.

        Raises BatchEmpty, BatchTooLarge, InvalidName, QueueNotFound.
        """
        return await self._routing.admitted(0, self._make_visible(name, receipt_handles, deadline))

    # --- for several callers at once

    async def _send_all(self, name: str, outgoing: Outgoing, deadline: Millis) -> tuple[Part, ...]:
        return await self._spreading.send(name, outgoing, deadline, None)

    async def _receive_all(
        self, name: str, maximum: int, deadline: Millis, visibility_timeout: Millis | None
    ) -> list[Received]:
        def make(queue: QueueId, own: RequestId) -> ReceiveRequest:
            return ReceiveRequest(queue, maximum, Millis(0), visibility_timeout, own)

        return (await self._gathering.receive(name, make, deadline, None)).messages

    async def _delete_all(self, name: str, receipt_handles: Sequence[bytes], deadline: Millis) -> Failures:
        return await self._settlements.delete(name, receipt_handles, deadline, None)

    async def _make_visible(self, name: str, receipt_handles: Sequence[bytes], deadline: Millis) -> Failures:
        now = [Millis(0)] * len(receipt_handles)
        return await self._settlements.change_visibility(name, receipt_handles, now, deadline, None, uncounted=True)

    # --- moves of dead letters

    async def start_move(
        self, name: str, destination: str, rate: int, deadline: Millis, request: RequestId | None = None
    ) -> str:
        """Move what is visible in the dead-letter queue ``name`` to ``destination``, or, when that is "", each message
        to where it came from. ``rate``: messages a second, 0 for no limit. The task's handle.

        Raises InvalidArgument, InvalidName, QueueNotFound, NotDeadLetterQueue, RedriveTargetInvalid, MoveTaskRunning.
        """
        call = self._move_tasks.start(name, destination, rate, deadline, request)
        return await self._routing.admitted(0, call)

    async def moves(self, name: str, deadline: Millis) -> list[MoveDescription]:
        """The latest tasks, newest first. Raises InvalidName, QueueNotFound."""
        return await self._routing.admitted(0, self._move_tasks.of(name, deadline))

    async def cancel_move(
        self,
        handle: str,
        deadline: Millis,
        request: RequestId | None = None,
        may_cancel: Callable[[str], bool] | None = None,
    ) -> int:
        """How many messages had been moved. ``may_cancel``: whether the caller may, by the queue's name; to one who may
        not there is no such task. Raises InvalidArgument, MoveTaskNotFound, MoveTaskNotRunning."""
        return await self._routing.admitted(0, self._move_tasks.cancel(handle, deadline, request, may_cancel))

    async def dead_letter_sources(self, name: str, deadline: Millis) -> list[str]:
        """Names of the queues whose dead letters go to this one, ascending. Raises InvalidName, QueueNotFound."""
        return await self._routing.admitted(0, self._move_tasks.sources(name, deadline))

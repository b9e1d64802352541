"""Move tasks as callers ask for them: messages of a dead-letter queue go back to where they came from, or elsewhere.

Started, listed and cancelled on the leader of the queue's group; the machine there works them off and the courier
carries. Amazon SQS API Reference: StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask,
ListDeadLetterSourceQueues. This room must not know how messages move.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import (
    InvalidArgument,
    MoveTaskNotFound,
    NotDeadLetterQueue,
    QueueNotFound,
    RedriveTargetInvalid,
)
from broker.base.ids import DIRECTORY_GROUP, GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import MAX_MOVE_RATE
from broker.domain.queues.commands import CancelMove, MoveCancelled, MoveStarted, StartMove
from broker.domain.queues.model import Target, is_fifo
from broker.domain.queues.questions import Move, MovesOf, SourcesOf
from broker.domain.queues.validation import check_queue_name
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services import task_handles
from broker.services.directory import Directory
from broker.services.lifecycle import KIND, no_such_queue
from broker.services.locating import Locator
from broker.services.replies import accepted, accepted_as
from broker.services.request_ids import RequestIds
from broker.services.routing import Routing
from broker.services.sending import ROOM
from broker.services.targets import Targets
from broker.services.task_handles import TaskHandle
from broker.services.use_cases import UseCase


class MoveDescription(msgspec.Struct, frozen=True):
    """``destination`` "": each to where it came from. ``rate``: messages a second, 0: as fast as they are taken in.
    ``to_move``: how many there were when it began. ``failure``: why it failed, or ""."""

    handle: str
    status: str
    destination: str
    rate: int
    moved: int
    to_move: int
    started_at: WallMillis
    failure: str


class StartRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    destination: Target | None
    rate: int
    request: RequestId


class StartAnswer(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    group: GroupId
    task: int


class CancelRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    task: int
    request: RequestId


class ListAnswer(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    group: GroupId
    moves: tuple[Move, ...]


class MoveTasks:
    def __init__(
        self,
        groups: Groups,
        locator: Locator,
        routing: Routing,
        directory: Directory,
        targets: Targets,
        request_ids: RequestIds,
    ) -> None:
        self._groups = groups
        self._locator = locator
        self._routing = routing
        self._directory = directory
        self._targets = targets
        self._request_ids = request_ids
        self._starting = UseCase("queues.start_move", StartRequest, StartAnswer, self._start_here)
        self._cancelling = UseCase("queues.cancel_move", CancelRequest, MoveCancelled, self._cancel_here)
        self._listing = UseCase("queues.moves", MovesOf, ListAnswer, self._list_here)
        self._naming = UseCase("queues.sources", SourcesOf, tuple[str, ...], self._name_here)
        locator.serve(self._starting)
        locator.serve(self._cancelling)
        locator.serve(self._listing)
        locator.serve(self._naming)

    async def start(
        self, name: str, destination: str, rate: int, deadline: Millis, request: RequestId | None = None
    ) -> str:
        """Move what is visible in the queue ``name``, to ``destination``, or, when that is "", each message to where it
        came from; the task's handle. ``rate``: messages a second, 0: as fast as they are taken in.

        Raises InvalidArgument, InvalidName, QueueNotFound, MoveTaskRunning; RedriveTargetInvalid when there is no such
        destination or it is of another kind; NotDeadLetterQueue without a destination, when no queue names this one.
        """
        if not 0 <= rate <= MAX_MOVE_RATE:
            raise InvalidArgument(
                f"a rate of {rate} messages a second is out of range: use 1 to {MAX_MOVE_RATE}, or 0 for no limit"
            )
        target = None
        if destination:
            target = await self._destination(name, destination, deadline)
        elif not await self.sources(name, deadline):
            raise NotDeadLetterQueue(
                f"queue {name!r} is no dead-letter queue, so its messages came from nowhere: name a destination"
            )

        def make(queue: QueueId, own: RequestId) -> StartRequest:
            return StartRequest(queue, target, rate, own)

        started = await self._routing.once(name, self._starting, make, deadline, request)
        return task_handles.encode(TaskHandle(started.queue, started.group, started.task))

    async def of(self, name: str, deadline: Millis) -> list[MoveDescription]:
        """The latest tasks of the queue, newest first. Raises InvalidName, QueueNotFound."""
        found = await self._routing.on_queue(name, self._listing, MovesOf, deadline)
        return [
            MoveDescription(
                handle=task_handles.encode(TaskHandle(found.queue, found.group, move.task)),
                status=move.status,
                destination=move.destination,
                rate=move.rate,
                moved=move.moved,
                to_move=move.to_move,
                started_at=move.started_at,
                failure=move.failure,
            )
            for move in found.moves
        ]

    async def cancel(self, handle: str, deadline: Millis, request: RequestId | None = None) -> int:
        """How many messages had been moved. Those on their way arrive all the same.

        Raises InvalidArgument, MoveTaskNotFound, MoveTaskNotRunning.
        """
        named = task_handles.decode(handle)
        own = request or self._request_ids.take()
        wanted = CancelRequest(named.queue, named.task, own)
        try:
            cancelled = await self._locator.on_leader(named.group, self._cancelling, wanted, deadline)
        except QueueNotFound:
            raise MoveTaskNotFound(f"the queue of move task {handle} was deleted") from None
        finally:
            if request is None:
                self._request_ids.give_back(own)
        return cancelled.moved

    async def sources(self, name: str, deadline: Millis) -> list[str]:
        """Names of the queues, ascending, whose dead letters go to the queue ``name``.

        Raises InvalidName, QueueNotFound.
        """
        check_queue_name(name)
        if await self._directory.find(KIND, name, deadline) is None:
            raise no_such_queue(name)
        found: set[str] = set()
        for group in self._locator.topology.groups:
            if group.id != DIRECTORY_GROUP:
                names = await self._locator.on_leader(group.id, self._naming, SourcesOf(name), deadline)
                found.update(names)
        return sorted(found)

    async def _destination(self, source: str, name: str, deadline: Millis) -> Target:
        check_queue_name(source)
        check_queue_name(name)
        if name == source:
            raise RedriveTargetInvalid(f"queue {name!r} cannot be moved to itself: name another queue")
        if is_fifo(name) != is_fifo(source):
            kind = "a FIFO" if is_fifo(source) else "a standard"
            raise RedriveTargetInvalid(
                f"messages of {kind} queue go to {kind} queue, {name!r} is none as {source!r} is: name another one"
            )
        found = await self._targets.find(name, deadline)
        if found is None:
            raise RedriveTargetInvalid(f"queue {name!r} does not exist: name another one, or create it first")
        return found

    # --- on the leader

    async def _start_here(self, group: GroupId, wanted: StartRequest, deadline: Millis) -> StartAnswer:
        command = StartMove(wanted.queue, wanted.destination, wanted.rate)
        reply = await self._groups.propose(group, ROOM, command, self._remaining(deadline), wanted.request)
        return StartAnswer(wanted.queue, group, accepted_as(MoveStarted, reply).task)

    async def _cancel_here(self, group: GroupId, wanted: CancelRequest, deadline: Millis) -> MoveCancelled:
        command = CancelMove(wanted.queue, wanted.task)
        reply = await self._groups.propose(group, ROOM, command, self._remaining(deadline), wanted.request)
        return accepted_as(MoveCancelled, reply)

    async def _list_here(self, group: GroupId, question: MovesOf, deadline: Millis) -> ListAnswer:
        moves = accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))
        return ListAnswer(question.queue, group, moves)

    async def _name_here(self, group: GroupId, question: SourcesOf, deadline: Millis) -> tuple[str, ...]:
        names: tuple[str, ...] = accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))
        return names

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self._groups.clock.monotonic())

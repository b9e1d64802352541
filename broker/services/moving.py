"""Move tasks as callers ask for them: messages of a dead-letter queue go back to where they came from, or elsewhere.

Started, listed and cancelled on the leader of the queue's group; the machine there works them off and the courier
carries. Each group over which a queue is spread has a task of its own; by the label that these have in common they are
told as one. Amazon SQS API Reference: StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask,
ListDeadLetterSourceQueues. This room must not know how messages move.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from broker.base.errors import (
    InvalidArgument,
    MoveTaskNotFound,
    MoveTaskNotRunning,
    MoveTaskRunning,
    NotDeadLetterQueue,
    QueueNotFound,
    RedriveTargetInvalid,
)
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.base.limits import MAX_MOVE_RATE, MOVES_KEPT
from broker.domain.directory.commands import Resource
from broker.domain.directory.resources import ACTIVE
from broker.domain.queues.commands import CancelMove, MoveCancelled, MoveStarted, StartMove
from broker.domain.queues.model import Target, is_fifo
from broker.domain.queues.questions import CANCELLED, COMPLETED, FAILED, RUNNING, Move, MovesOf, SourcesOf
from broker.domain.queues.validation import check_queue_name
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services import task_handles
from broker.services.directory import Directory
from broker.services.lifecycle import KIND, no_such_queue
from broker.services.locating import Locator
from broker.services.replies import accepted, accepted_as
from broker.services.request_ids import RequestIds
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
    command: StartMove
    request: RequestId


class CancelRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    label: str
    request: RequestId


class CancelAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``known``: the group has a task of that label. ``running``: until now. ``moved``: how many messages."""

    known: bool
    running: bool
    moved: int


class MoveTasks:
    def __init__(
        self, groups: Groups, locator: Locator, directory: Directory, targets: Targets, request_ids: RequestIds
    ) -> None:
        self._groups = groups
        self._locator = locator
        self._directory = directory
        self._targets = targets
        self._request_ids = request_ids
        self._starting = UseCase("queues.start_move", StartRequest, MoveStarted, self._start_here)
        self._cancelling = UseCase("queues.cancel_move", CancelRequest, CancelAnswer, self._cancel_here)
        self._listing = UseCase("queues.moves", MovesOf, tuple[Move, ...], self._list_here)
        self._naming = UseCase("queues.sources", SourcesOf, tuple[str, ...], self._name_here)
        locator.serve(self._starting)
        locator.serve(self._cancelling)
        locator.serve(self._listing)
        locator.serve(self._naming)

    async def start(
        self, name: str, destination: str, rate: int, deadline: Millis, request: RequestId | None = None
    ) -> str:
        """Move what is visible in the queue ``name``, to ``destination``, or, when that is "", each message to where it
        came from; the task's handle. ``rate``: messages a second, at least one for each group over which the queue is
        spread, or 0: as fast as they are taken in.

        Raises InvalidArgument, InvalidName, QueueNotFound, MoveTaskRunning; RedriveTargetInvalid when there is no such
        destination or it is of another kind; NotDeadLetterQueue without a destination, when no queue names this one.
        """
        if not 0 <= rate <= MAX_MOVE_RATE:
            raise InvalidArgument(
                f"a rate of {rate} messages a second is out of range: use 1 to {MAX_MOVE_RATE}, or 0 for no limit"
            )
        source = await self._find(name, deadline)
        target = None
        if destination:
            target = await self._destination(name, destination, deadline)
        elif not await self.sources(name, deadline):
            raise NotDeadLetterQueue(
                f"queue {name!r} is no dead-letter queue, so its messages came from nowhere: name a destination"
            )
        own = request or self._request_ids.take()
        try:
            return await self._start(source, target, rate, deadline, own)
        finally:
            if request is None:
                self._request_ids.give_back(own)

    async def of(self, name: str, deadline: Millis) -> list[MoveDescription]:
        """The latest tasks of the queue, newest first. Raises InvalidName, QueueNotFound."""
        source = await self._find(name, deadline)
        parts: dict[str, list[Move]] = {}
        for move in await self._list(source, deadline):
            parts.setdefault(move.label, []).append(move)
        told = [_described(QueueId(source.id), label, moves) for label, moves in parts.items()]
        return sorted(told, key=_started_at, reverse=True)[:MOVES_KEPT]

    async def cancel(
        self,
        handle: str,
        deadline: Millis,
        request: RequestId | None = None,
        may_cancel: Callable[[str], bool] | None = None,
    ) -> int:
        """How many messages had been moved. Those on their way arrive all the same. ``may_cancel``: whether the caller
        may, by the queue's name; to one who may not there is no such task.

        Raises InvalidArgument, MoveTaskNotFound, MoveTaskNotRunning.
        """
        named = task_handles.decode(handle)
        source = await self._directory.by_id(KIND, named.queue, deadline)
        if source is None or source.state != ACTIVE:
            raise MoveTaskNotFound(f"the queue of move task {handle} was deleted")
        if may_cancel is not None and not may_cancel(source.name):
            raise MoveTaskNotFound(f"there is no move task {handle}")
        own = request or self._request_ids.take()
        wanted = CancelRequest(named.queue, named.label, own)
        answers: list[CancelAnswer] = []
        try:
            for group in source.everywhere:
                with suppress(QueueNotFound):  # it is joining, or has been drained
                    answers.append(await self._locator.on_leader(group, self._cancelling, wanted, deadline))
        finally:
            if request is None:
                self._request_ids.give_back(own)
        if not any(answer.known for answer in answers):
            raise MoveTaskNotFound(
                f"queue {source.name!r} knows no move task {handle} (any more): the last {MOVES_KEPT} are remembered"
            )
        if not any(answer.running for answer in answers):
            raise MoveTaskNotRunning(f"move task {handle} of queue {source.name!r} has ended already")
        return sum(answer.moved for answer in answers)

    async def sources(self, name: str, deadline: Millis) -> list[str]:
        """Names of the queues, ascending, whose dead letters go to the queue ``name``.

        Raises InvalidName, QueueNotFound.
        """
        await self._find(name, deadline)
        found: set[str] = set()
        for group in (await self._directory.topology(deadline)).data_groups:
            names = await self._locator.on_leader(group, self._naming, SourcesOf(name), deadline)
            found.update(names)
        return sorted(found)

    # --- inside

    async def _find(self, name: str, deadline: Millis) -> Resource:
        check_queue_name(name)
        found = await self._directory.find(KIND, name, deadline)
        if found is None:
            raise no_such_queue(name)
        return found

    async def _destination(self, source: str, name: str, deadline: Millis) -> Target:
        check_queue_name(name)
        if name == source:
            raise RedriveTargetInvalid(f"messages of queue {name!r} cannot be moved to itself: name another queue")
        if is_fifo(name) != is_fifo(source):
            kind = "a FIFO" if is_fifo(source) else "a standard"
            raise RedriveTargetInvalid(
                f"messages of {kind} queue go to {kind} queue, {name!r} is none as {source!r} is: name another one"
            )
        found = await self._targets.find(name, deadline)
        if found is None:
            raise RedriveTargetInvalid(f"queue {name!r} does not exist: name another one, or create it first")
        return found

    async def _start(
        self, source: Resource, target: Target | None, rate: int, deadline: Millis, request: RequestId
    ) -> str:
        """One group after the other, the home group first; a repetition goes on where it was interrupted."""
        queue, label = QueueId(source.id), task_handles.label_of(request)
        groups = source.everywhere
        if any(move.status == RUNNING and move.label != label for move in await self._list(source, deadline)):
            raise MoveTaskRunning(f"a move task of queue {source.name!r} is running: wait for its end, or cancel it")
        for place, group in enumerate(groups):
            share = max(1, rate // len(groups) + (place < rate % len(groups))) if rate else 0
            wanted = StartRequest(StartMove(queue, target, share, label), request)
            try:
                await self._locator.on_leader(group, self._starting, wanted, deadline)
            except QueueNotFound:  # it is joining, or has been drained
                if group == source.group:
                    raise no_such_queue(source.name) from None
        return task_handles.encode(TaskHandle(queue, label))

    async def _list(self, source: Resource, deadline: Millis) -> list[Move]:
        found: list[Move] = []
        for group in source.everywhere:
            try:
                moves = await self._locator.on_leader(group, self._listing, MovesOf(QueueId(source.id)), deadline)
            except QueueNotFound:
                if group == source.group:
                    raise no_such_queue(source.name) from None
            else:
                found += moves
        return found

    # --- on the leader

    async def _start_here(self, group: GroupId, wanted: StartRequest, deadline: Millis) -> MoveStarted:
        reply = await self._groups.propose(group, ROOM, wanted.command, self._remaining(deadline), wanted.request)
        return accepted_as(MoveStarted, reply)

    async def _cancel_here(self, group: GroupId, wanted: CancelRequest, deadline: Millis) -> CancelAnswer:
        """A repetition is answered as the first time, though the task is cancelled by now."""
        listed = await self._list_here(group, MovesOf(wanted.queue), deadline)
        moves = [move for move in listed if move.label == wanted.label]
        if not moves:
            return CancelAnswer(known=False, running=False, moved=0)
        command = CancelMove(wanted.queue, moves[0].task)
        try:
            reply = await self._groups.propose(group, ROOM, command, self._remaining(deadline), wanted.request)
            return CancelAnswer(known=True, running=True, moved=accepted_as(MoveCancelled, reply).moved)
        except MoveTaskNotRunning:
            return CancelAnswer(known=True, running=False, moved=moves[0].moved)

    async def _list_here(self, group: GroupId, question: MovesOf, deadline: Millis) -> tuple[Move, ...]:
        moves: tuple[Move, ...] = accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))
        return moves

    async def _name_here(self, group: GroupId, question: SourcesOf, deadline: Millis) -> tuple[str, ...]:
        names: tuple[str, ...] = accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))
        return names

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self._groups.clock.monotonic())


def _described(queue: QueueId, label: str, parts: list[Move]) -> MoveDescription:
    """One task of a queue, of which each group has a part."""
    statuses = [part.status for part in parts]
    return MoveDescription(
        handle=task_handles.encode(TaskHandle(queue, label)),
        status=next(status for status in (RUNNING, FAILED, CANCELLED, COMPLETED) if status in statuses),
        destination=parts[0].destination,
        rate=sum(part.rate for part in parts),
        moved=sum(part.moved for part in parts),
        to_move=sum(part.to_move for part in parts),
        started_at=min(part.started_at for part in parts),
        failure=next((part.failure for part in parts if part.failure), ""),
    )


def _started_at(move: MoveDescription) -> WallMillis:
    return move.started_at

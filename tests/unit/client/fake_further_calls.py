"""The fake broker's calls beyond sending and receiving: giving back, schedules, exchange, browsing, moves."""
# ruff: noqa: N802  (the methods have the names of the API)

from __future__ import annotations

from typing import Any

from broker.base.errors import (
    MoveTaskNotFound,
    MoveTaskNotRunning,
    NotDeadLetterQueue,
    ReceiptHandleExpired,
)
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_queue import StoredMessage, StoredQueue, attempt
from tests.unit.client.fake_refusal import refuse

BROWSE_PAGE = 2
AT = 1_700_000_000_000


class FakeFurtherCalls:
    """Half of a FakeNode: the other half has ``cluster`` and the ways to begin a call."""

    cluster: Any

    async def _begin(self, call: str, context: Any) -> None:
        raise NotImplementedError

    async def _queue(self, name: str, context: Any) -> StoredQueue:
        raise NotImplementedError

    async def GiveBack(self, request: Any, context: Any) -> queues_pb2.GiveBackResponse:
        await self._begin("GiveBack", context)
        queue = await self._queue(request.queue, context)
        actions = [(queue.give_back, handle) for handle in request.receipt_handles]
        return queues_pb2.GiveBackResponse(failed=attempt(actions))

    async def Cancel(self, request: Any, context: Any) -> queues_pb2.CancelResponse:
        await self._begin("Cancel", context)
        queue = await self._queue(request.queue, context)
        return queues_pb2.CancelResponse(failed=attempt([(queue.cancel, each) for each in request.message_ids]))

    async def Exchange(self, request: Any, context: Any) -> queues_pb2.ExchangeResponse:
        await self._begin("Exchange", context)
        queue, source = await self._queue(request.queue, context), await self._queue(request.delete_from, context)
        for handle in request.receipt_handles:
            if handle not in source.in_flight:
                await refuse(context, ReceiptHandleExpired(f"receipt handle {handle.hex()} has expired"))
        for handle in request.receipt_handles:
            source.delete(handle)
        sent = [queue.send(message) for message in request.messages]
        numbers = [found.sequence_number for found in sent] if queue.fifo else []
        return queues_pb2.ExchangeResponse(message_ids=[found.id for found in sent], sequence_numbers=numbers)

    async def Browse(self, request: Any, context: Any) -> queues_pb2.BrowseResponse:
        """Pages are short, and every second one is empty, as the API allows."""
        await self._begin("Browse", context)
        queue = await self._queue(request.queue, context)
        found = [message for message in _browsed(queue) if not request.states or message.state in request.states]
        start, empty = int(request.page_token or 0), request.page_token.endswith(" ")
        end = start if empty else start + min(BROWSE_PAGE, request.page_size)
        token = "" if end >= len(found) else f"{end}" + ("" if empty else " ")
        return queues_pb2.BrowseResponse(messages=found[start:end], next_page_token=token)

    async def Census(self, request: Any, context: Any) -> queues_pb2.CensusResponse:
        await self._begin("Census", context)
        queue = await self._queue(request.queue, context)
        return queues_pb2.CensusResponse(
            age_bounds_ms=[1_000, 60_000],
            ages=[
                queues_pb2.CensusResponse.Ages(
                    state=queues_pb2.MESSAGE_STATE_VISIBLE, counts=[0, len(queue.visible), 0]
                ),
                queues_pb2.CensusResponse.Ages(
                    state=queues_pb2.MESSAGE_STATE_IN_FLIGHT, counts=[len(queue.in_flight), 0, 0]
                ),
                queues_pb2.CensusResponse.Ages(
                    state=queues_pb2.MESSAGE_STATE_DELAYED, counts=[0, 0, len(queue.scheduled)]
                ),
            ],
            message_groups=[
                queues_pb2.CensusResponse.Group(
                    message_group=group,
                    waiting=sum(message.message_group == group for message in queue.visible),
                    in_flight=sum(message.message_group == group for message in queue.in_flight.values()),
                )
                for group in sorted({message.message_group for message in queue.stored if message.message_group})
            ],
            at=AT,
        )

    # --- dead letters

    async def StartMove(self, request: Any, context: Any) -> queues_pb2.StartMoveResponse:
        """Done at once, unless a rate was asked for: then it runs for ever."""
        await self._begin("StartMove", context)
        source = await self._queue(request.source, context)
        if not request.destination and not self._sources_of(request.source):
            await refuse(context, NotDeadLetterQueue(f"no queue names {request.source!r} as its dead-letter queue"))
        count = len(source.visible)
        done = not request.messages_per_second
        move = queues_pb2.Move(
            task=f"{request.source}-{len(source.moves) + 1}",
            status=queues_pb2.MOVE_STATUS_COMPLETED if done else queues_pb2.MOVE_STATUS_RUNNING,
            destination=request.destination,
            messages_per_second=request.messages_per_second,
            moved=count if done else 0,
            to_move=count,
            started_at=AT,
        )
        source.moves.insert(0, move)
        if done:
            source.visible.clear()
        return queues_pb2.StartMoveResponse(task=move.task)

    async def ListMoves(self, request: Any, context: Any) -> queues_pb2.ListMovesResponse:
        await self._begin("ListMoves", context)
        return queues_pb2.ListMovesResponse(moves=(await self._queue(request.source, context)).moves)

    async def CancelMove(self, request: Any, context: Any) -> queues_pb2.CancelMoveResponse:
        await self._begin("CancelMove", context)
        moves = [move for queue in self.cluster.queues.values() for move in queue.moves if move.task == request.task]
        if not moves:
            await refuse(context, MoveTaskNotFound(f"there is no move task {request.task!r}"))
        if moves[0].status != queues_pb2.MOVE_STATUS_RUNNING:
            await refuse(context, MoveTaskNotRunning(f"move task {request.task!r} has ended"))
        moves[0].status = queues_pb2.MOVE_STATUS_CANCELLED
        return queues_pb2.CancelMoveResponse(moved=moves[0].moved)

    async def ListDeadLetterSources(self, request: Any, context: Any) -> queues_pb2.ListDeadLetterSourcesResponse:
        await self._begin("ListDeadLetterSources", context)
        await self._queue(request.queue, context)
        return queues_pb2.ListDeadLetterSourcesResponse(names=self._sources_of(request.queue))

    def _sources_of(self, target: str) -> list[str]:
        queues = self.cluster.queues.items()
        return sorted(name for name, queue in queues if queue.attributes.redrive.target == target)


def _browsed(queue: StoredQueue) -> list[queues_pb2.BrowsedMessage]:
    visible, in_flight = {each.id for each in queue.visible}, {each.id for each in queue.in_flight.values()}

    def state(message: StoredMessage) -> queues_pb2.MessageState.ValueType:
        if message.id in in_flight:
            return queues_pb2.MESSAGE_STATE_IN_FLIGHT
        return queues_pb2.MESSAGE_STATE_VISIBLE if message.id in visible else queues_pb2.MESSAGE_STATE_DELAYED

    held = [message for message in queue.stored if message.id in visible | in_flight | set(queue.scheduled)]
    return [
        queues_pb2.BrowsedMessage(
            message_id=message.id,
            state=state(message),
            sent_at=AT,
            until=message.deliver_at,
            receive_count=message.receive_count,
            message_group=message.message_group,
            body=message.body,
            attributes=message.attributes,
            deduplication_id=message.deduplication_id,
            origin=message.origin,
        )
        for message in held
    ]

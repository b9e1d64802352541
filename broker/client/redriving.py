"""The client's calls about dead letters: moving them back to where they came from or elsewhere, and whose they are."""

from __future__ import annotations

from broker.client.calls import Calling
from broker.client.model import Move
from broker.client.units import to_count
from broker.client.wire import move_of
from broker.pb.queues.v1 import queues_pb2


class Redriving(Calling):
    async def start_move(self, source: str, destination: str | None = None, *, rate: int | None = None) -> str:
        """Begins to move what is visible in ``source``, the oldest first, and returns the task's name at once.

        ``destination``: a queue of the same kind; None: each message goes to where it came from. ``rate``: messages a
        second, 1-500; None: as fast as they are taken in. Raises QueueNotFound, NotDeadLetterQueue,
        RedriveTargetInvalid, MoveTaskRunning.

        >>> async def example(client: Client) -> None:
        ...     task = await client.start_move("orders-dead", rate=100)
        ...     [move, *_] = await client.list_moves("orders-dead")
        ...     print(move.status, move.moved, "of", move.to_move)
        """
        with self._sessions.request_id() as request_id:
            request = queues_pb2.StartMoveRequest(
                source=source,
                destination=destination or "",
                messages_per_second=0 if rate is None else to_count(rate, "rate"),
                request_id=request_id,
            )
            return (await self._caller.call(lambda node: node.queues.StartMove, request, queue=source)).task

    async def list_moves(self, source: str) -> list[Move]:
        """The latest 10 move tasks from a queue, newest first. Raises QueueNotFound."""
        request = queues_pb2.ListMovesRequest(source=source)
        response = await self._caller.call(lambda node: node.queues.ListMoves, request, queue=source)
        return [move_of(move) for move in response.moves]

    async def cancel_move(self, task: str) -> int:
        """How many messages it had moved: they stay where they are. Raises MoveTaskNotFound, MoveTaskNotRunning."""
        with self._sessions.request_id() as request_id:
            request = queues_pb2.CancelMoveRequest(task=task, request_id=request_id)
            return (await self._caller.call(lambda node: node.queues.CancelMove, request)).moved

    async def dead_letter_sources(self, queue: str) -> list[str]:
        """Names of the queues whose redrive policy names this one, ascending. Raises QueueNotFound."""
        request = queues_pb2.ListDeadLetterSourcesRequest(queue=queue)
        response = await self._caller.call(lambda node: node.queues.ListDeadLetterSources, request, queue=queue)
        return list(response.names)

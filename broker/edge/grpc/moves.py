"""QueueService's calls about dead letters: moving them back or elsewhere, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.instants import Millis
from broker.edge.grpc import translation
from broker.edge.grpc.calls import Unary
from broker.edge.grpc.enumerations import MOVE_STATUS
from broker.pb.queues.v1 import queues_pb2
from broker.services.moving import MoveDescription
from broker.services.queues import QueueService


class MoveCalls:
    def __init__(self, service: QueueService) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Unary]:
        return {
            "StartMove": self.start,
            "ListMoves": self.moves,
            "CancelMove": self.cancel,
            "ListDeadLetterSources": self.sources,
        }

    async def start(self, request: queues_pb2.StartMoveRequest, deadline: Millis) -> queues_pb2.StartMoveResponse:
        own = translation.request_id(request, request.request_id)
        rate = request.messages_per_second
        task = await self._service.start_move(request.source, request.destination, rate, deadline, own)
        return queues_pb2.StartMoveResponse(task=task)

    async def moves(self, request: queues_pb2.ListMovesRequest, deadline: Millis) -> queues_pb2.ListMovesResponse:
        found = await self._service.moves(request.source, deadline)
        return queues_pb2.ListMovesResponse(moves=[_move(move) for move in found])

    async def cancel(self, request: queues_pb2.CancelMoveRequest, deadline: Millis) -> queues_pb2.CancelMoveResponse:
        own = translation.request_id(request, request.request_id)
        return queues_pb2.CancelMoveResponse(moved=await self._service.cancel_move(request.task, deadline, own))

    async def sources(
        self, request: queues_pb2.ListDeadLetterSourcesRequest, deadline: Millis
    ) -> queues_pb2.ListDeadLetterSourcesResponse:
        names = await self._service.dead_letter_sources(request.queue, deadline)
        return queues_pb2.ListDeadLetterSourcesResponse(names=names)


def _move(move: MoveDescription) -> queues_pb2.Move:
    return queues_pb2.Move(
        task=move.handle,
        status=MOVE_STATUS.number(move.status),
        destination=move.destination,
        messages_per_second=move.rate,
        moved=move.moved,
        to_move=move.to_move,
        started_at=move.started_at,
        failure=move.failure,
    )

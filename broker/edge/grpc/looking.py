"""QueueService's calls that look at messages without receiving them: Browse and Census."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.instants import Millis, WallMillis
from broker.edge.grpc import translation
from broker.edge.grpc.calls import Unary
from broker.edge.grpc.enumerations import MESSAGE_STATE
from broker.pb.queues.v1 import queues_pb2
from broker.services.browsing import BrowsedMessage, BrowseRequest
from broker.services.queues import QueueService

DEFAULT_PAGE = 100


class LookingCalls:
    def __init__(self, service: QueueService) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Unary]:
        return {"Browse": self.browse, "Census": self.census}

    async def browse(self, request: queues_pb2.BrowseRequest, deadline: Millis) -> queues_pb2.BrowseResponse:
        wanted = BrowseRequest(
            states=tuple(dict.fromkeys(MESSAGE_STATE.word(state) for state in request.states)),
            token=request.page_token,
            limit=request.page_size or DEFAULT_PAGE,
            since=WallMillis(translation.number("since", request.since)),
            until=WallMillis(translation.number("until", request.until)) if request.HasField("until") else None,
        )
        answer = await self._service.browse(request.queue, wanted, deadline)
        return queues_pb2.BrowseResponse(
            messages=[_browsed(message) for message in answer.messages], next_page_token=answer.next_token
        )

    async def census(self, request: queues_pb2.CensusRequest, deadline: Millis) -> queues_pb2.CensusResponse:
        answer = await self._service.census(request.queue, deadline)
        return queues_pb2.CensusResponse(
            age_bounds_ms=answer.bounds,
            ages=[
                queues_pb2.CensusResponse.Ages(state=MESSAGE_STATE.number(state), counts=counts)
                for state, counts in answer.ages.items()
            ],
            message_groups=[
                queues_pb2.CensusResponse.Group(message_group=name, waiting=waiting, in_flight=in_flight)
                for name, waiting, in_flight in answer.groups
            ],
            at=answer.at,
        )


def _browsed(message: BrowsedMessage) -> queues_pb2.BrowsedMessage:
    return queues_pb2.BrowsedMessage(
        message_id=message.id,
        state=MESSAGE_STATE.number(message.state),
        sent_at=message.sent_at,
        until=message.until,
        receive_count=message.receive_count,
        first_received_at=message.first_received_at,
        message_group=message.group,
        body=message.body,
        attributes=translation.attributes(message.attributes),
        deduplication_id=message.deduplication,
        origin=None if message.origin is None else translation.origin(message.origin),
    )

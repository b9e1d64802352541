"""QueueService's unary calls: one method each, named as in the .proto; the streams are in rooms of their own."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.instants import Millis
from broker.base.limits import LIST_PAGE
from broker.edge.grpc import attributes, translation
from broker.edge.grpc.calls import Unary
from broker.edge.grpc.errors import entry_errors
from broker.pb.queues.v1 import queues_pb2
from broker.services.queues import QueueService


class QueueCalls:
    def __init__(self, service: QueueService) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Unary]:
        return {
            "CreateQueue": self.create,
            "UpdateQueue": self.update,
            "DeleteQueue": self.delete,
            "ListQueues": self.names,
            "DescribeQueue": self.describe,
            "PurgeQueue": self.purge,
            "Send": self.send,
            "Receive": self.receive,
            "Delete": self.delete_messages,
            "ChangeVisibility": self.change_visibility,
            "GiveBack": self.give_back,
            "Cancel": self.cancel,
            "Exchange": self.exchange,
        }

    async def create(self, request: queues_pb2.CreateQueueRequest, deadline: Millis) -> queues_pb2.CreateQueueResponse:
        changes = attributes.attribute_changes(request.attributes)
        created = await self._service.create(request.name, changes, deadline, request.beside)
        return queues_pb2.CreateQueueResponse(created=created)

    async def update(self, request: queues_pb2.UpdateQueueRequest, deadline: Millis) -> queues_pb2.UpdateQueueResponse:
        own = translation.request_id(request, request.request_id)
        changes = attributes.attribute_changes(request.attributes, no_redrive=request.remove_redrive)
        await self._service.update(request.name, changes, deadline, own)
        return queues_pb2.UpdateQueueResponse()

    async def delete(self, request: queues_pb2.DeleteQueueRequest, deadline: Millis) -> queues_pb2.DeleteQueueResponse:
        await self._service.delete(request.name, deadline)
        return queues_pb2.DeleteQueueResponse()

    async def names(self, request: queues_pb2.ListQueuesRequest, deadline: Millis) -> queues_pb2.ListQueuesResponse:
        size = request.page_size or LIST_PAGE
        page = await self._service.names(request.prefix, request.page_token, size, deadline)
        return queues_pb2.ListQueuesResponse(names=page.names, next_page_token=page.names[-1] if page.more else "")

    async def describe(
        self, request: queues_pb2.DescribeQueueRequest, deadline: Millis
    ) -> queues_pb2.DescribeQueueResponse:
        found = await self._service.describe(request.name, deadline)
        return queues_pb2.DescribeQueueResponse(queue=attributes.description(found))

    async def purge(self, request: queues_pb2.PurgeQueueRequest, deadline: Millis) -> queues_pb2.PurgeQueueResponse:
        own = translation.request_id(request, request.request_id)
        await self._service.purge(request.name, deadline, own)
        return queues_pb2.PurgeQueueResponse()

    async def send(self, request: queues_pb2.SendRequest, deadline: Millis) -> queues_pb2.SendResponse:
        own = translation.request_id(request, request.request_id)
        result = await self._service.send(request.queue, translation.outgoing(request.messages), deadline, own)
        return queues_pb2.SendResponse(
            message_ids=result.message_ids(),
            failed=entry_errors(result.refused),
            sequence_numbers=result.sequence_numbers(),
        )

    async def receive(self, request: queues_pb2.ReceiveRequest, deadline: Millis) -> queues_pb2.ReceiveResponse:
        answer = await self._service.receive(
            request.queue,
            request.max_messages or 1,
            deadline,
            Millis(request.wait_ms) if request.HasField("wait_ms") else None,
            Millis(request.visibility_timeout_ms) if request.HasField("visibility_timeout_ms") else None,
            translation.request_id(request, request.request_id),
            request.receive_attempt_id,
        )
        response = queues_pb2.ReceiveResponse()
        translation.add_delivered(response, answer.messages)
        return response

    async def delete_messages(self, request: queues_pb2.DeleteRequest, deadline: Millis) -> queues_pb2.DeleteResponse:
        own = translation.request_id(request, request.request_id)
        failures = await self._service.delete_messages(request.queue, request.receipt_handles, deadline, own)
        return queues_pb2.DeleteResponse(failed=entry_errors(failures))

    async def change_visibility(
        self, request: queues_pb2.ChangeVisibilityRequest, deadline: Millis
    ) -> queues_pb2.ChangeVisibilityResponse:
        failures = await self._service.change_visibility(
            request.queue,
            [change.receipt_handle for change in request.changes],
            [Millis(change.visibility_timeout_ms) for change in request.changes],
            deadline,
            translation.request_id(request, request.request_id),
        )
        return queues_pb2.ChangeVisibilityResponse(failed=entry_errors(failures))

    async def give_back(self, request: queues_pb2.GiveBackRequest, deadline: Millis) -> queues_pb2.GiveBackResponse:
        failures = await self._service.give_back(request.queue, request.receipt_handles, deadline)
        return queues_pb2.GiveBackResponse(failed=entry_errors(failures))

    async def cancel(self, request: queues_pb2.CancelRequest, deadline: Millis) -> queues_pb2.CancelResponse:
        own = translation.request_id(request, request.request_id)
        failures = await self._service.cancel(request.queue, request.message_ids, deadline, own)
        return queues_pb2.CancelResponse(failed=entry_errors(failures))

    async def exchange(self, request: queues_pb2.ExchangeRequest, deadline: Millis) -> queues_pb2.ExchangeResponse:
        result = await self._service.exchange(
            request.queue,
            translation.outgoing(request.messages),
            request.delete_from,
            request.receipt_handles,
            deadline,
            translation.request_id(request, request.request_id),
        )
        return queues_pb2.ExchangeResponse(message_ids=result.message_ids(), sequence_numbers=result.sequence_numbers())

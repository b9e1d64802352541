"""DeleteMessage, ChangeMessageVisibility and their batches."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from broker.base import errors
from broker.base.errors import Refusal
from broker.base.instants import Millis
from broker.edge.aws.contract import AwsError, Context, Operation
from broker.edge.aws.sqs import batches, numbers
from broker.edge.aws.sqs.batches import Entries
from broker.edge.aws.sqs.errors import (
    handle_expired,
    handle_invalid,
    invalid_value,
    missing_parameter,
    not_in_flight,
    of_refusal,
)
from broker.edge.aws.sqs.names import Names, QueueName
from broker.services.queues import QueueService
from broker.services.replies import Failures


class SettlingMessages:
    def __init__(self, queues: QueueService, names: Names) -> None:
        self._queues = queues
        self._names = names

    def by_name(self) -> Mapping[str, Operation]:
        return {
            "DeleteMessage": self.delete,
            "DeleteMessageBatch": self.delete_batch,
            "ChangeMessageVisibility": self.change,
            "ChangeMessageVisibilityBatch": self.change_batch,
        }

    async def delete(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        handle: str = given["ReceiptHandle"]
        failures = await self._queues.delete_messages(queue.stored, [_raw(handle)], context.deadline)
        if failures:
            error = _of_delete(failures[0][1], handle, context, queue)
            if error is not None:
                raise error
        return {}

    async def delete_batch(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        entries = batches.entries_of(given, "DeleteMessageBatchRequestEntry")
        handles = [_raw(entry["ReceiptHandle"]) for entry in entries]
        failures = await self._queues.delete_messages(queue.stored, handles, context.deadline)
        refused = {
            place: error
            for place, refusal in failures
            if (error := _of_delete(refusal, entries[place]["ReceiptHandle"], context, queue)) is not None
        }
        return _answer(entries, refused)

    async def change(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        timeout = _timeout(given)
        failures = await self._change(queue, [given], [timeout], context)
        if failures:
            raise _of_change(failures[0][1], given, context, queue)
        return {}

    async def change_batch(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        entries = batches.entries_of(given, "ChangeMessageVisibilityBatchRequestEntry")
        refused: dict[int, AwsError] = {}
        places: list[int] = []
        timeouts: list[Millis] = []
        for place, entry in enumerate(entries):
            try:
                timeouts.append(_timeout(entry))
            except AwsError as error:
                refused[place] = error
            else:
                places.append(place)
        if places:
            failures = await self._change(queue, [entries[place] for place in places], timeouts, context)
            for position, refusal in failures:
                place = places[position]
                refused[place] = _of_change(refusal, entries[place], context, queue)
        else:
            await self._queues.must_exist(queue.stored, context.deadline)
        return _answer(entries, refused)

    async def _change(
        self, queue: QueueName, entries: Entries, timeouts: Sequence[Millis], context: Context
    ) -> Failures:
        handles = [_raw(entry["ReceiptHandle"]) for entry in entries]
        return await self._queues.change_visibility(queue.stored, handles, timeouts, context.deadline)


def _timeout(given: dict[str, Any]) -> Millis:
    timeout = numbers.visibility_timeout(given)
    if timeout is None:
        raise missing_parameter("VisibilityTimeout")
    return timeout


def _raw(handle: str) -> bytes:
    """What is no handle at all is told from one by its queue."""
    try:
        return b64decode(handle, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _of_delete(refusal: Refusal, handle: str, context: Context, queue: QueueName) -> AwsError | None:
    """None: done, as SQS sees it. An old handle of a standard queue succeeds and deletes nothing."""
    if refusal.code == errors.ReceiptHandleExpired.code:
        return handle_expired(handle) if queue.fifo else None
    if refusal.code == errors.ReceiptHandleInvalid.code:
        return handle_invalid(handle, context)
    return of_refusal(refusal, context, queue)


def _of_change(refusal: Refusal, given: dict[str, Any], context: Context, queue: QueueName) -> AwsError:
    handle = given["ReceiptHandle"]
    if refusal.code == errors.ReceiptHandleExpired.code:
        return not_in_flight(handle)
    if refusal.code == errors.ReceiptHandleInvalid.code:
        return handle_invalid(handle, context)
    if refusal.code == errors.InvalidArgument.code:  # the timeout itself is in range
        return invalid_value(
            given["VisibilityTimeout"],
            "VisibilityTimeout",
            f"Total VisibilityTimeout for the message is beyond the limit [{numbers.MAX_VISIBILITY_TIMEOUT} seconds]",
        )
    return of_refusal(refusal, context, queue)


def _answer(entries: Entries, refused: Mapping[int, AwsError]) -> dict[str, Any]:
    successful = [{"Id": entry["Id"]} for place, entry in enumerate(entries) if place not in refused]
    return {
        "Successful": successful,
        "Failed": [batches.failed(entries[place], refused[place]) for place in sorted(refused)],
    }

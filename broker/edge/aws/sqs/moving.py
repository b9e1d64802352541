"""Moves of dead letters: StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.base import errors
from broker.base.limits import MAX_MOVE_RATE, MOVES_KEPT
from broker.domain.queues.questions import RUNNING
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.sqs import numbers
from broker.edge.aws.sqs.errors import invalid_parameter, invalid_value, missing_parameter, resource_not_found
from broker.edge.aws.sqs.names import Names, QueueName
from broker.services.moving import MoveDescription
from broker.services.queues import QueueService

_RATE = "MaxNumberOfMessagesPerSecond"


class MoveTasks:
    def __init__(self, queues: QueueService, names: Names) -> None:
        self._queues = queues
        self._names = names

    def by_name(self) -> Mapping[str, Operation]:
        return {
            "StartMessageMoveTask": self.start,
            "ListMessageMoveTasks": self.list,
            "CancelMessageMoveTask": self.cancel,
        }

    async def start(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        source = self._named(context, given, "SourceArn")
        destination = self._named(context, given, "DestinationArn") if given.get("DestinationArn") else None
        rate = given.get(_RATE)
        if rate is not None and not 1 <= rate <= MAX_MOVE_RATE:
            raise invalid_value(rate, _RATE, f"{_RATE} must be between 1 and {MAX_MOVE_RATE}.")
        queues, deadline = self._queues, context.deadline
        await self._must_exist(context, source, "SourceArn")
        if destination is not None:
            await self._must_exist(context, destination, "DestinationArn")
        if not await queues.dead_letter_sources(source.stored, deadline):
            raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
        target = "" if destination is None else destination.stored
        try:
            handle = await queues.start_move(source.stored, target, rate or 0, deadline)
        except errors.MoveTaskRunning:
            raise invalid_parameter(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given "
                "time."
            ) from None
        return {"TaskHandle": handle}

    async def list(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        source = self._named(context, given, "SourceArn")
        limit = numbers.number(given, "MaxResults", 1, MOVES_KEPT)
        try:
            found = await self._queues.moves(source.stored, context.deadline)
        except (errors.QueueNotFound, errors.InvalidName):
            raise _no_such("SourceArn") from None
        return {"Results": [self._told(move, source) for move in found[:limit]]}

    async def cancel(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        own = self._names.own(context.caller, "")

        def may_cancel(stored: str) -> bool:
            return self._names.of_stored(stored).is_with(own)

        try:
            moved = await self._queues.cancel_move(given["TaskHandle"], context.deadline, may_cancel=may_cancel)
        except errors.MoveTaskNotFound:
            raise resource_not_found("Task does not exist.") from None
        except errors.MoveTaskNotRunning:
            raise invalid_parameter("Only active tasks can be cancelled.") from None
        except errors.InvalidArgument:
            raise invalid_parameter("Value for parameter TaskHandle is invalid.") from None
        return {"ApproximateNumberOfMessagesMoved": moved}

    def _told(self, move: MoveDescription, source: QueueName) -> dict[str, Any]:
        told: dict[str, Any] = {
            "Status": move.status.upper(),
            "SourceArn": source.arn,
            "ApproximateNumberOfMessagesMoved": move.moved,
            "ApproximateNumberOfMessagesToMove": move.to_move,
            "StartedTimestamp": move.started_at,
        }
        if move.status == RUNNING:
            told["TaskHandle"] = move.handle
        if move.destination:
            told["DestinationArn"] = self._names.of_stored(move.destination).arn
        if move.rate:
            told[_RATE] = move.rate
        if move.failure:
            told["FailureReason"] = move.failure
        return told

    def _named(self, context: Context, given: dict[str, Any], parameter: str) -> QueueName:
        """Raises AwsError unless it is the ARN of a queue of the caller's account and region."""
        text = given.get(parameter)
        if not text:
            raise missing_parameter(parameter)
        found = self._names.of_arn(text)
        if found is None:
            raise invalid_parameter(f"Value for parameter {parameter} is invalid.")
        if not found.is_with(self._names.own(context.caller, "")):
            raise _no_such(parameter)
        return found

    async def _must_exist(self, context: Context, queue: QueueName, parameter: str) -> None:
        try:
            await self._queues.must_exist(queue.stored, context.deadline)
        except (errors.QueueNotFound, errors.InvalidName):
            raise _no_such(parameter) from None


def _no_such(parameter: str) -> Exception:
    return resource_not_found(f"The resource that you specified for the {parameter} parameter doesn't exist.")

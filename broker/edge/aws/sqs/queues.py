"""Queues as a whole: create, find, list, delete, purge, and their attributes.

CreateQueue for a name that exists answers its URL when the attributes that are given are those of the queue; what is
not given is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from broker.base import errors
from broker.domain.queues.model import NAMESPACE
from broker.edge.aws.contract import AwsError, Context, Operation
from broker.edge.aws.sqs import queue_attributes, redrive, tags, tokens
from broker.edge.aws.sqs.errors import (
    invalid_attribute,
    invalid_parameter,
    queue_exists,
    unknown_attribute,
)
from broker.edge.aws.sqs.names import Names, QueueName
from broker.edge.aws.sqs.queue_attributes import ALL, FIFO_QUEUE
from broker.services.administering import AttributeChanges
from broker.services.queues import QueueService

_STANDARD_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
_FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
    "must end with .fifo suffix and be 1 to 80 in length."
)


class Queues:
    def __init__(self, queues: QueueService, names: Names) -> None:
        self._queues = queues
        self._names = names

    def by_name(self) -> Mapping[str, Operation]:
        return {
            "CreateQueue": self.create,
            "DeleteQueue": self.delete,
            "GetQueueUrl": self.url,
            "ListQueues": self.list,
            "PurgeQueue": self.purge,
            "GetQueueAttributes": self.attributes,
            "SetQueueAttributes": self.set,
            "ListDeadLetterSourceQueues": self.sources,
        }

    async def create(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.own(context.caller, given["QueueName"])
        attributes: dict[str, str] = given.get("Attributes") or {}
        _check_kind(queue, attributes)
        changes = queue_attributes.read(attributes, queue, self._names)
        if changes.message_size_limit is None:
            changes = msgspec.structs.replace(changes, message_size_limit=queue_attributes.DEFAULT_SIZE_LIMIT)
        changes = msgspec.structs.replace(changes, tags=tags.read(given.get("tags") or {}, queue))
        try:
            new = await self._queues.create(queue.stored, changes, context.deadline)
        except errors.QueueExists:
            new = False
        except errors.InvalidName:
            raise invalid_parameter(_FIFO_NAME if queue.fifo else _STANDARD_NAME) from None
        except errors.CallerError as error:
            raise self._told(error, attributes, changes) from error
        if not new and attributes:
            found = await self._queues.describe(queue.stored, context.deadline)
            different = queue_attributes.first_difference(attributes, found.queue.attributes, queue, self._names)
            if different:
                raise queue_exists(different)
        return {"QueueUrl": queue.url(context.base_url)}

    async def delete(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        await self._queues.delete(queue.stored, context.deadline)
        return {}

    async def url(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        caller = context.caller
        account = given.get("QueueOwnerAWSAccountId") or caller.account
        queue = self._names.of(account, caller.region, given["QueueName"])
        await self._queues.must_exist(queue.stored, context.deadline)
        return {"QueueUrl": queue.url(context.base_url)}

    async def list(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        caller, size = context.caller, given.get("MaxResults")
        after, limit = tokens.page_of(given)
        space = self._names.prefix(caller.account, caller.region)
        wanted = given.get("QueueNamePrefix") or ""
        if NAMESPACE in wanted:  # no queue is called so, and what begins so belongs to others
            return {}
        prefix = space + wanted
        page = await self._queues.names(prefix, space + after if after else "", limit, context.deadline)
        found = [self._names.of_stored(stored) for stored in page.names]
        answer: dict[str, Any] = {}
        if found:
            answer["QueueUrls"] = [queue.url(context.base_url) for queue in found]
            if page.more and size is not None:
                answer["NextToken"] = tokens.encode(found[-1].name)
        return answer

    async def purge(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        await self._queues.purge(queue.stored, context.deadline)
        return {}

    async def attributes(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        wanted = given.get("AttributeNames") or ()
        for name in wanted:
            if name != ALL and (name not in queue_attributes.KNOWN or (name == FIFO_QUEUE and not queue.fifo)):
                raise unknown_attribute(name)
        found = await self._queues.describe(queue.stored, context.deadline)
        told = queue_attributes.describe(found, queue, self._names)
        if ALL not in wanted:
            told = {name: told[name] for name in wanted if name in told}
        return {"Attributes": told} if told else {}

    async def set(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        attributes: dict[str, str] = given["Attributes"]
        changes = queue_attributes.read(attributes, queue, self._names)
        try:
            await self._queues.update(queue.stored, changes, context.deadline)
        except (errors.QueueNotFound, errors.InvalidName):
            raise
        except errors.CallerError as error:
            raise self._told(error, attributes, changes) from error
        return {}

    async def sources(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        after, limit = tokens.page_of(given)
        found = await self._queues.dead_letter_sources(queue.stored, context.deadline)
        named = [source for source in map(self._names.of_stored, found) if source.is_with(queue)]
        rest = [source for source in named if source.name > after]
        answer: dict[str, Any] = {"queueUrls": [source.url(context.base_url) for source in rest[:limit]]}
        if len(rest) > limit and given.get("MaxResults") is not None:
            answer["NextToken"] = tokens.encode(rest[limit - 1].name)
        return answer

    def _told(self, error: errors.CallerError, attributes: Mapping[str, str], changes: AttributeChanges) -> Exception:
        """Of attributes that are right one by one: not together, or not with other queues."""
        if changes.redrive is not None:
            text = attributes[redrive.POLICY]
            if isinstance(error, errors.RedriveTargetInvalid):
                return redrive.target_missing(text)
            if isinstance(error, errors.RedriveNotAllowed):
                return redrive.target_denied(text, changes.redrive, self._names)
        if type(error) is errors.InvalidArgument and attributes.keys() & _TOGETHER:
            return invalid_attribute(next(name for name in _TOGETHER if name in attributes), str(error))
        return error


_TOGETHER = {"FifoThroughputLimit": None, "DeduplicationScope": None}
"""In this order they are named when they do not fit together."""


def _check_kind(queue: QueueName, attributes: Mapping[str, str]) -> None:
    """Raises AwsError unless name and attributes say the same."""
    wanted = attributes.get(FIFO_QUEUE)
    error: AwsError | None = None
    if wanted == "true" and not queue.fifo:
        error = invalid_parameter(_FIFO_NAME)
    elif queue.fifo and wanted is None:
        error = invalid_parameter(_STANDARD_NAME)
    if error is not None:
        raise error

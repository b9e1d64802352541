"""Tags of queues: TagQueue, UntagQueue, ListQueueTags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.base.errors import InvalidArgument
from broker.base.limits import MAX_TAGS, TAG_KEY_MAX_LENGTH, TAG_VALUE_MAX_LENGTH
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.sqs.errors import invalid_parameter, missing_parameter
from broker.edge.aws.sqs.message_attributes import has_forbidden
from broker.edge.aws.sqs.names import Names, QueueName
from broker.services.administering import AttributeChanges
from broker.services.queues import QueueService

_RESERVED = "aws:"


class Tags:
    def __init__(self, queues: QueueService, names: Names) -> None:
        self._queues = queues
        self._names = names

    def by_name(self) -> Mapping[str, Operation]:
        return {"TagQueue": self.tag, "UntagQueue": self.untag, "ListQueueTags": self.list}

    async def tag(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        if not given["Tags"]:
            raise missing_parameter("Tags")
        await self._update(context, queue, read(given["Tags"], queue))
        return {}

    async def untag(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        keys = given["TagKeys"]
        if not keys:
            raise invalid_parameter("Tag keys can't be empty.")
        await self._update(context, queue, tuple((key, None) for key in keys))
        return {}

    async def list(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        found = await self._queues.describe(queue.stored, context.deadline)
        tags = found.queue.attributes.tags
        return {"Tags": dict(tags)} if tags else {}

    async def _update(
        self, context: Context, queue: QueueName, tags: tuple[tuple[str, str | None], ...] | None
    ) -> None:
        try:
            await self._queues.update(queue.stored, AttributeChanges(tags=tags), context.deadline)
        except InvalidArgument as error:
            if type(error) is InvalidArgument:  # more than there may be, with those that are there
                raise invalid_parameter(f"Too many tags added for queue {queue.name}.") from error
            raise


def read(given: Mapping[str, str], queue: QueueName) -> tuple[tuple[str, str | None], ...] | None:
    """Raises AwsError."""
    if len(given) > MAX_TAGS:
        raise invalid_parameter(f"Too many tags added for queue {queue.name}.")
    for key, value in given.items():
        if not 1 <= len(key) <= TAG_KEY_MAX_LENGTH:
            raise invalid_parameter(f"Tag keys must be between 1 and {TAG_KEY_MAX_LENGTH} characters in length.")
        if len(value) > TAG_VALUE_MAX_LENGTH:
            raise invalid_parameter(f"Tag values must be between 0 and {TAG_VALUE_MAX_LENGTH} characters in length.")
        if has_forbidden(key) or has_forbidden(value):
            raise invalid_parameter(f"The tag {key!r} has characters that are not allowed.")
        if key.lower().startswith(_RESERVED):
            raise invalid_parameter("System tags cannot be added/updated by requester.")
    return tuple(given.items()) or None

"""SQS as one service of the AWS edge: all its operations by name, over the queues of the cluster.

This room must not know how a request is written, nor who signed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from broker.base.errors import BrokerError
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.sqs.authorization import Authorization
from broker.edge.aws.sqs.errors import to_aws
from broker.edge.aws.sqs.moving import MoveTasks
from broker.edge.aws.sqs.names import Names, QueueName
from broker.edge.aws.sqs.permissions import Permissions
from broker.edge.aws.sqs.queue_policies import QueuePolicies
from broker.edge.aws.sqs.queues import Queues
from broker.edge.aws.sqs.receiving import ReceivingMessages
from broker.edge.aws.sqs.sending import Sending
from broker.edge.aws.sqs.settling import SettlingMessages
from broker.edge.aws.sqs.tags import Tags
from broker.services.queues import QueueService
from broker.services.request_ids import RequestIds

_CHANGING_POLICIES = frozenset(
    {"AddPermission", "CreateQueue", "DeleteQueue", "RemovePermission", "SetQueueAttributes"}
)


class SqsService:
    """``account`` and ``region``: whose queues are those that gRPC clients see under the same names."""

    name = "sqs"

    def __init__(self, queues: QueueService, account: str, region: str, random_bytes: Callable[[int], bytes]) -> None:
        self._names = Names(account, region)
        self._policies = QueuePolicies(queues)
        self._authorization = Authorization(queues, self._policies, self._names)
        parts = (
            Queues(queues, self._names),
            Tags(queues, self._names),
            Permissions(queues, self._names),
            Sending(queues, self._names),
            ReceivingMessages(queues, self._names, RequestIds(random_bytes)),
            SettlingMessages(queues, self._names),
            MoveTasks(queues, self._names),
        )
        self._operations = {
            name: self._telling(name, operation) for part in parts for name, operation in part.by_name().items()
        }

    def operations(self) -> Mapping[str, Operation]:
        return self._operations

    def takes_anonymous(self, operation: str) -> bool:
        return self._authorization.takes_anonymous(operation)

    async def authorize(self, context: Context, operation: str, members: Mapping[str, Any]) -> None:
        """Raises AwsError when the queue's policy does not let the caller, or cannot be read."""
        try:
            await self._authorization.authorize(context, operation, members)
        except BrokerError as error:
            raise to_aws(error, context) from error

    def _telling(self, name: str, operation: Operation) -> Operation:
        async def told(context: Context, given: dict[str, Any]) -> dict[str, Any]:
            try:
                return await operation(context, given)
            except BrokerError as error:
                raise to_aws(error, context, self._queue_of(context, given)) from error

        async def told_and_forgotten(context: Context, given: dict[str, Any]) -> dict[str, Any]:
            """What this node remembers of the queue's policy, that is: a change counts here at once."""
            try:
                return await told(context, given)
            finally:
                queue = self._queue_of(context, given)
                if queue is not None:
                    self._policies.forget(queue.stored)

        return told_and_forgotten if name in _CHANGING_POLICIES else told

    def _queue_of(self, context: Context, given: Mapping[str, Any]) -> QueueName | None:
        if "QueueUrl" in given:
            return self._names.of_url(given["QueueUrl"], context.caller)
        return self._names.own(context.caller, given["QueueName"]) if "QueueName" in given else None

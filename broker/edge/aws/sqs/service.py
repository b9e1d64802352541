"""SQS as one service of the AWS edge: all its operations by name, over the queues of the cluster.

This room must not know how a request is written, nor who signed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from broker.base.errors import BrokerError
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.sqs.errors import to_aws
from broker.edge.aws.sqs.moving import MoveTasks
from broker.edge.aws.sqs.names import Names, QueueName
from broker.edge.aws.sqs.permissions import Permissions
from broker.edge.aws.sqs.queues import Queues
from broker.edge.aws.sqs.receiving import ReceivingMessages
from broker.edge.aws.sqs.sending import Sending
from broker.edge.aws.sqs.settling import SettlingMessages
from broker.edge.aws.sqs.tags import Tags
from broker.services.queues import QueueService
from broker.services.request_ids import RequestIds


class SqsService:
    """``account`` and ``region``: whose queues are those that gRPC clients see under the same names."""

    name = "sqs"

    def __init__(self, queues: QueueService, account: str, region: str, random_bytes: Callable[[int], bytes]) -> None:
        self._names = Names(account, region)
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
            name: self._telling(operation) for part in parts for name, operation in part.by_name().items()
        }

    def operations(self) -> Mapping[str, Operation]:
        return self._operations

    def _telling(self, operation: Operation) -> Operation:
        async def told(context: Context, given: dict[str, Any]) -> dict[str, Any]:
            try:
                return await operation(context, given)
            except BrokerError as error:
                raise to_aws(error, context, self._queue_of(context, given)) from error

        return told

    def _queue_of(self, context: Context, given: dict[str, Any]) -> QueueName | None:
        if "QueueUrl" in given:
            return self._names.of_url(given["QueueUrl"], context.caller)
        return self._names.own(context.caller, given["QueueName"]) if "QueueName" in given else None

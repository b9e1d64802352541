"""AddPermission and RemovePermission: statements of the queue's policy, each under its label.

These two change the policy as a document. What it means is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from broker.base.errors import Conflict
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.sqs import policy_documents
from broker.edge.aws.sqs.errors import invalid_value, missing_parameter, over_limit
from broker.edge.aws.sqs.names import Names, QueueName
from broker.edge.aws.sqs.queue_attributes import POLICY
from broker.services.administering import AttributeChanges
from broker.services.queues import QueueService

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_MAX_ACTIONS = 7
MAX_ATTEMPTS = 20
_ACTIONS = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)

Document = dict[str, Any]


class Permissions:
    def __init__(self, queues: QueueService, names: Names) -> None:
        self._queues = queues
        self._names = names

    def by_name(self) -> Mapping[str, Operation]:
        return {"AddPermission": self.add, "RemovePermission": self.remove}

    async def add(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        label = given["Label"]
        statement = _statement(given, queue)

        def with_it(policy: Document | None) -> Document:
            statements = _statements(policy)
            if any(each.get("Sid") == label for each in statements):
                raise invalid_value(label, "Label", "Already exists.")
            new = policy or {"Version": "2008-10-17", "Id": f"{queue.arn}/SQSDefaultPolicy"}
            return {**new, "Statement": [*statements, statement]}

        await self._change(context, queue, with_it)
        return {}

    async def remove(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        label = given["Label"]

        def without_it(policy: Document | None) -> Document | None:
            statements = _statements(policy)
            others = [each for each in statements if each.get("Sid") != label]
            if policy is None or len(others) == len(statements):
                raise invalid_value(label, "Label", "can't find label.")
            return {**policy, "Statement": others} if others else None

        await self._change(context, queue, without_it)
        return {}

    async def _change(
        self, context: Context, queue: QueueName, change: Callable[[Document | None], Document | None]
    ) -> None:
        """Begins again when another call changes the policy meanwhile."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            found = await self._queues.describe(queue.stored, context.deadline)
            text = dict(found.queue.attributes.kept).get(POLICY)
            changed = change(_document(text) if text else None)
            kept = None if changed is None else msgspec.json.encode(changed).decode()
            if kept is not None:
                policy_documents.read(kept)
            changes = AttributeChanges(kept=((POLICY, kept),), kept_before=((POLICY, text),))
            try:
                await self._queues.update(queue.stored, changes, context.deadline)
                break
            except Conflict:
                if attempt == MAX_ATTEMPTS:
                    raise


def _document(text: str) -> Document:
    """Raises AwsError for what is no policy: it was kept before policies were checked."""
    policy_documents.read(text)
    found: Document = msgspec.json.decode(text)
    return found


def _statements(policy: Document | None) -> list[Document]:
    found = [] if policy is None else policy.get("Statement", [])
    return found if isinstance(found, list) else [found]


def _statement(given: dict[str, Any], queue: QueueName) -> Document:
    """Raises AwsError."""
    label, accounts, actions = given["Label"], given["AWSAccountIds"], given["Actions"]
    if not _LABEL.fullmatch(label):
        reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        raise invalid_value(label, "Label", reason)
    if not actions:
        raise missing_parameter("Actions")
    if not accounts:
        raise missing_parameter("AWSAccountIds")
    if len(actions) > _MAX_ACTIONS:
        raise over_limit(f"{len(actions)} Actions were found, maximum allowed is {_MAX_ACTIONS}.")
    for action in actions:
        if action not in _ACTIONS:
            reason = "Only the queue owner is allowed to invoke this action."
            raise invalid_value(f"SQS:{action}", "ActionName", reason)
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise invalid_value(account, "PrincipalId", "Unable to verify.")
    principals = [f"arn:aws:iam::{account}:root" for account in accounts]
    allowed = [f"SQS:{action}" for action in actions]
    return {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_all(principals)},
        "Action": _one_or_all(allowed),
        "Resource": queue.arn,
    }


def _one_or_all(items: list[str]) -> str | list[str]:
    return items[0] if len(items) == 1 else items

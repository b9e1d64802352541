"""Who may do what to which queue.

Amazon SQS Developer Guide, "Managing access" and "Limitations of custom policies". Whoever acts for the account of a
queue may do anything that the queue's policy does not deny; there are no policies of users. Others, and those who did
not say who they are, may do what it allows them, and some things never. They are told the same whether the queue
exists or not, and whatever its policy says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from broker.base.instants import SECOND, WallMillis
from broker.domain.policies.patterns import Values
from broker.domain.policies.policy import AccessRequest, Decision, Policy
from broker.domain.policies.principals import Requester
from broker.edge.aws.contract import AwsError, Caller, Context
from broker.edge.aws.errors import access_denied
from broker.edge.aws.sqs.names import Names, QueueName
from broker.edge.aws.sqs.queue_policies import QueuePolicies
from broker.services.queues import QueueService

NEVER_ACROSS_ACCOUNTS = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "CreateQueue",
        "DeleteQueue",
        "ListMessageMoveTasks",
        "ListQueues",
        "ListQueueTags",
        "RemovePermission",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)
NEVER_DENIED_TO_ROOT = frozenset({"GetQueueUrl", "GetQueueAttributes", "SetQueueAttributes"})
"""So that a policy which denies everything to everybody can be taken away."""
_ACTIONS = {
    "SendMessageBatch": ("SendMessage",),
    "DeleteMessageBatch": ("DeleteMessage",),
    "ChangeMessageVisibilityBatch": ("ChangeMessageVisibility",),
    "StartMessageMoveTask": ("StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"),
}
"""What operations are called in policies, where not by their own names."""
_EVERYBODYS_OWN = frozenset({"CreateQueue", "ListQueues"})
"""These name no queue, or none that there is."""


class Authorization:
    def __init__(self, queues: QueueService, policies: QueuePolicies, names: Names) -> None:
        self._clock = queues.clock
        self._policies = policies
        self._names = names

    @staticmethod
    def takes_anonymous(operation: str) -> bool:
        return operation not in NEVER_ACROSS_ACCOUNTS

    async def authorize(self, context: Context, operation: str, given: Mapping[str, Any]) -> None:
        """Raises AwsError when the caller may not, BrokerError when the policy cannot be read."""
        if operation in _EVERYBODYS_OWN:
            return
        caller = context.caller
        for action, queue in self._asked(caller, operation, given):
            is_owner = queue.account == caller.account and not caller.anonymous
            if not is_owner and operation in NEVER_ACROSS_ACCOUNTS:
                raise _not_allowed(caller, action, queue)
            kept = self._policies.kept(queue.stored)
            policy = kept.policy if kept else await self._policies.of(queue.stored, context.deadline, is_owner)
            if not is_owner:
                if policy is None or self._decide(policy, context, action, queue) is not Decision.ALLOW:
                    raise _not_allowed(caller, action, queue)
            elif policy is not None and policy.may_deny:
                spared = operation in NEVER_DENIED_TO_ROOT and caller.arn == _root(caller.account)
                if not spared and self._decide(policy, context, action, queue) is Decision.DENY:
                    raise _denied(caller, action, queue)

    def _asked(self, caller: Caller, operation: str, given: Mapping[str, Any]) -> Iterator[tuple[str, QueueName]]:
        """What the operation does to which queues; nothing when it names none, which it refuses itself. Raises
        AwsError."""
        queue = self._named(caller, given)
        if queue is not None:
            for action in _ACTIONS.get(operation, (operation,)):
                yield action, queue
        if destination := given.get("DestinationArn"):
            queue = self._names.of_arn(destination)
            if queue is not None:
                yield "SendMessage", queue

    def _named(self, caller: Caller, given: Mapping[str, Any]) -> QueueName | None:
        if "QueueUrl" in given:
            return self._names.of_url(given["QueueUrl"], caller)
        if "QueueName" in given:
            account = given.get("QueueOwnerAWSAccountId") or caller.account
            return self._names.of(account, caller.region, given["QueueName"])
        return self._names.of_arn(given.get("SourceArn") or "")

    def _decide(self, policy: Policy, context: Context, action: str, queue: QueueName) -> Decision:
        values = _values(context, queue, self._clock.wall())
        requester = Requester(context.caller.account, (context.caller.arn,))
        return policy.decide(AccessRequest(requester, f"sqs:{action}", queue.arn, values))


def _values(context: Context, queue: QueueName, now: WallMillis) -> Values:
    """IAM User Guide, "AWS global condition context keys". Nobody calls for another service here, so there are no
    aws:SourceArn and aws:SourceAccount."""
    caller = context.caller
    values: dict[str, list[str]] = {
        "aws:currenttime": [_written(now // SECOND)],
        "aws:epochtime": [str(now // SECOND)],
        "aws:securetransport": ["true" if context.base_url.startswith("https:") else "false"],
        "aws:requestedregion": [queue.region],
        "aws:resourceaccount": [queue.account],
        "aws:principalisawsservice": ["false"],
        "aws:viaawsservice": ["false"],
    }
    if context.source_ip:
        values["aws:sourceip"] = [context.source_ip]
    if caller.anonymous:
        values["aws:principaltype"] = ["Anonymous"]
        return values
    _, user, name = caller.arn.rpartition(":user/")
    values |= {
        "aws:principalaccount": [caller.account],
        "aws:principalarn": [caller.arn],
        "aws:principaltype": ["User" if user else "Account"],
        "aws:userid": [caller.user_id],
    }
    if user:
        values["aws:username"] = [name.rpartition("/")[2]]
    return values


@lru_cache(maxsize=1)
def _written(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _root(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


def _denied(caller: Caller, action: str, queue: QueueName) -> AwsError:
    return access_denied(f"{_wanted(caller, action, queue)} with an explicit deny in a resource-based policy")


def _not_allowed(caller: Caller, action: str, queue: QueueName) -> AwsError:
    reason = f"because no resource-based policy allows the sqs:{action.lower()} action"
    return access_denied(f"{_wanted(caller, action, queue)} {reason}")


def _wanted(caller: Caller, action: str, queue: QueueName) -> str:
    who = "anonymous" if caller.anonymous else caller.arn
    return f"User: {who} is not authorized to perform: sqs:{action.lower()} on resource: {queue.arn}"

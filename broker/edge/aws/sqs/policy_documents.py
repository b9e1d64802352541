"""Policies of queues as documents: what SQS takes, and within which limits.

Amazon SQS Developer Guide, "Amazon SQS policy quotas". The language itself is ``broker.domain.policies``.
"""

from __future__ import annotations

from broker.base.errors import InvalidArgument
from broker.domain.policies.documents import parse
from broker.domain.policies.policy import Policy, Statement
from broker.edge.aws.sqs.errors import invalid_attribute, over_limit

ATTRIBUTE = "Policy"
MAX_BYTES = 8_192
MAX_STATEMENTS = 20
MAX_PRINCIPALS = 50
MAX_CONDITIONS = 10
"""Of one statement, as are the actions. The guide does not say of what; so nothing is refused that SQS may take."""
MAX_ACTIONS = 7
_PREFIX, _ANY = "sqs:", "*"


def read(text: str) -> Policy:
    """Raises AwsError when SQS would not take it."""
    if len(text.encode()) > MAX_BYTES:
        raise over_limit("Submitted policy is over max allowed size.")
    try:
        policy = parse(text)
    except InvalidArgument as error:
        raise invalid_attribute(ATTRIBUTE, f"{error}.") from None
    _check_count("statements", len(policy.statements), MAX_STATEMENTS)
    _check_count("principals", sum(each.principals.count for each in policy.statements), MAX_PRINCIPALS)
    for statement in policy.statements:
        _check_actions(statement)
        if len(statement.conditions) > MAX_CONDITIONS:
            raise _too_many("conditions", len(statement.conditions), "a statement from ", MAX_CONDITIONS)
    return policy


def _check_actions(statement: Statement) -> None:
    texts = statement.actions.texts
    if len(texts) > MAX_ACTIONS:
        raise _too_many("actions", len(texts), "a statement from ", MAX_ACTIONS)
    for text in texts:
        if not text.startswith(_ANY) and not text.lower().startswith(_PREFIX):
            raise invalid_attribute(ATTRIBUTE, f"{text} is not an action of SQS.")


def _check_count(what: str, found: int, most: int) -> None:
    if found > most:
        raise _too_many(what, found, "", most)


def _too_many(what: str, found: int, where: str, most: int) -> Exception:
    return over_limit(f"{found} {what} were found in {where}the submitted policy, max allowed is {most}")

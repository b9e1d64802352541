"""A policy of a resource, ready to be asked: may this requester do this to that?

IAM User Guide, "Policy evaluation logic": a Deny that applies wins over every Allow; where nothing applies, the policy
says nothing, and who asks decides what that means. This room must not know which services or actions there are.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from broker.domain.policies.conditions import Condition
from broker.domain.policies.patterns import Pattern, Values
from broker.domain.policies.principals import Principals, Requester

_NO_VALUES: Values = {}


class Decision(Enum):
    ALLOW = "Allow"
    DENY = "Deny"
    NONE = "none"


class AccessRequest(msgspec.Struct, frozen=True):
    """``action``: with its service, as in "sqs:SendMessage". ``resource``: its ARN. ``values``: the context."""

    requester: Requester
    action: str
    resource: str
    values: Values


class Selection(msgspec.Struct, frozen=True):
    """Of actions or resources: those that match one of the patterns, or, if ``others``, all but those. ``texts``: the
    patterns as they were written."""

    texts: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    others: bool

    def includes(self, text: str, values: Values) -> bool:
        return any(pattern.matches(text, values) for pattern in self.patterns) != self.others


class Statement(msgspec.Struct, frozen=True):
    """``but_principals``: it applies to everybody except those named."""

    sid: str
    effect: Decision
    principals: Principals
    but_principals: bool
    actions: Selection
    resources: Selection
    conditions: tuple[Condition, ...]

    def applies(self, request: AccessRequest) -> bool:
        return (
            self.actions.includes(request.action, _NO_VALUES)
            and self.principals.include(request.requester) != self.but_principals
            and self.resources.includes(request.resource, request.values)
            and all(condition.holds(request.values) for condition in self.conditions)
        )


class Policy(msgspec.Struct, frozen=True):
    statements: tuple[Statement, ...]

    @property
    def may_deny(self) -> bool:
        """Whether there is any Deny at all."""
        return any(statement.effect is Decision.DENY for statement in self.statements)

    def decide(self, request: AccessRequest) -> Decision:
        found = Decision.NONE
        for statement in self.statements:
            if statement.effect is found or not statement.applies(request):
                continue
            if statement.effect is Decision.DENY:
                return Decision.DENY
            found = Decision.ALLOW
        return found

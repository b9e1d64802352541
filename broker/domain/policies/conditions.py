"""The Condition element: what must hold of a request's context for a statement to count.

IAM User Guide, "Condition operators", "Conditions with multiple context keys or values", "Single-valued vs.
multivalued context keys". All operators and keys must hold; of a key's values in the policy, one; of a negated
operator's, none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from broker.base.errors import InvalidArgument
from broker.domain.policies import operators
from broker.domain.policies.operators import Test
from broker.domain.policies.patterns import Values

NULL = "Null"
_IF_EXISTS = "IfExists"


class Quantifier(Enum):
    """How many of a request's values must satisfy the operator, where it may have several."""

    ALL = "ForAllValues"
    ANY = "ForAnyValue"


class Condition(Protocol):
    def holds(self, values: Values) -> bool: ...


class Comparison(msgspec.Struct, frozen=True):
    """One operator for one key: ``tests``, one for each value in the policy."""

    key: str
    tests: tuple[Test, ...]
    negated: bool
    quantifier: Quantifier | None
    if_exists: bool

    def holds(self, values: Values) -> bool:
        given = values.get(self.key, ())
        if not given:
            if self.if_exists or self.quantifier is Quantifier.ALL:
                return True
            return self.negated and self.quantifier is None
        if self.quantifier is None:
            return any(self._matches(value, values) for value in given) != self.negated
        satisfied = (self._matches(value, values) != self.negated for value in given)
        return all(satisfied) if self.quantifier is Quantifier.ALL else any(satisfied)

    def _matches(self, value: str, values: Values) -> bool:
        return any(test(value, values) for test in self.tests)


class Presence(msgspec.Struct, frozen=True):
    """The operator Null: ``absent`` says whether the key has to be missing; both, that it does not matter."""

    key: str
    absent: frozenset[bool]

    def holds(self, values: Values) -> bool:
        return (not values.get(self.key)) in self.absent


def compiled(operator: str, keys: Mapping[str, Sequence[str]], variables: bool) -> list[Condition]:
    """Of one operator, as the policy writes it, and what it says of each key. Raises InvalidArgument."""
    if operator == NULL:
        return [_presence(key, texts) for key, texts in keys.items()]
    quantifier, bare = _quantifier(operator)
    if_exists = bare.endswith(_IF_EXISTS)
    found = operators.find(bare.removesuffix(_IF_EXISTS))
    if found is None:
        raise InvalidArgument(f"{operator[:100]!r} is not a condition operator")
    return [
        Comparison(
            key.lower(), tuple(found.make(text, variables) for text in texts), found.negated, quantifier, if_exists
        )
        for key, texts in keys.items()
    ]


def _presence(key: str, texts: Sequence[str]) -> Presence:
    wanted = [operators.boolean(text) for text in texts]
    if None in wanted:
        raise InvalidArgument("Null takes true or false")
    return Presence(key.lower(), frozenset(absent for absent in wanted if absent is not None))


def _quantifier(operator: str) -> tuple[Quantifier | None, str]:
    prefix, colon, bare = operator.partition(":")
    if not colon:
        return None, operator
    found = {quantifier.value: quantifier for quantifier in Quantifier}.get(prefix)
    return found, bare if found is not None else operator

"""A policy evaluator written to be read, and in another way: it compiles nothing, takes documents as they stand, and
decides by sets of statements. Slow, and only for documents that are well formed."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import re
from fractions import Fraction
from functools import cache
from typing import Any

VARIABLE = re.compile(r"\$\{([^{}]*)\}")
NOTHING = object()
"""What a variable without a value makes of a text: equal to none."""


def listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def like(pattern: tuple[str, ...], text: str) -> bool:
    """``pattern``: characters, or "<*>" and "<?>" for wildcards."""

    @cache
    def rest(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(text)
        if pattern[i] == "<*>":
            return rest(i + 1, j) or (j < len(text) and rest(i, j + 1))
        return j < len(text) and pattern[i] in ("<?>", text[j]) and rest(i + 1, j + 1)

    return rest(0, 0)


def characters(text: str, values: dict[str, list[str]] | None, wildcards: bool) -> tuple[str, ...] | object:
    """``values`` None: variables do not count."""
    found: list[str] = []
    while text:
        match = VARIABLE.match(text) if values is not None else None
        if match is None:
            found.append(f"<{text[0]}>" if wildcards and text[0] in "*?" else text[0])
            text = text[1:]
            continue
        text = text[match.end() :]
        name, _, default = match[1].partition(", ")
        if name in ("*", "?", "$"):
            found.append(name)
            continue
        known = (values or {}).get(name.lower(), [])
        if len(known) == 1:
            found.extend(known[0])
        elif default:
            found.extend(default.strip("'"))
        else:
            return NOTHING
    return tuple(found)


class NaivePolicy:
    def __init__(self, document: dict[str, Any]) -> None:
        self.variables = document.get("Version") == "2012-10-17"
        self.statements = listed(document["Statement"])

    def decide(self, requester: Any, action: str, resource: str, values: dict[str, list[str]]) -> str:
        effects = {
            statement["Effect"]
            for statement in self.statements
            if all(
                (
                    self.says_action(statement, action),
                    self.says_principal(statement, requester),
                    self.says_resource(statement, resource, values),
                    self.says_conditions(statement.get("Condition", {}), values),
                )
            )
        }
        return "Deny" if "Deny" in effects else "Allow" if effects else "none"

    def says_action(self, statement: dict[str, Any], action: str) -> bool:
        def named(element: str) -> bool:
            patterns = [characters(text.lower(), None, True) for text in listed(statement[element])]
            return any(like(pattern, action.lower()) for pattern in patterns if isinstance(pattern, tuple))

        return named("Action") if "Action" in statement else not named("NotAction")

    def says_resource(self, statement: dict[str, Any], resource: str, values: dict[str, list[str]]) -> bool:
        def named(element: str) -> bool:
            return any(
                isinstance(pattern, tuple) and like(pattern, resource)
                for pattern in (
                    characters(text, values if self.variables else None, True) for text in listed(statement[element])
                )
            )

        return named("Resource") if "Resource" in statement else not named("NotResource")

    def says_principal(self, statement: dict[str, Any], requester: Any) -> bool:
        element = "Principal" if "Principal" in statement else "NotPrincipal"
        given = statement[element]
        given = {"AWS": "*"} if given == "*" else given
        named = False
        for kind, names in given.items():
            for name in listed(names):
                if kind == "AWS":
                    account = name.removeprefix("arn:aws:iam::").removesuffix(":root")
                    named |= name == "*" or name in requester.arns or (account == requester.account != "")
                else:
                    own = {
                        "Service": requester.service,
                        "Federated": requester.federated,
                        "CanonicalUser": requester.canonical,
                    }
                    named |= own[kind] == name
        return named == (element == "Principal")

    def says_conditions(self, block: dict[str, Any], values: dict[str, list[str]]) -> bool:
        return all(
            self.says_condition(
                operator, values.get(key.lower(), []), [self.text(each) for each in listed(wanted)], values
            )
            for operator, keys in block.items()
            for key, wanted in keys.items()
        )

    @staticmethod
    def text(given: Any) -> str:
        return str(given).lower() if isinstance(given, bool) else str(given)

    def says_condition(self, operator: str, given: list[str], wanted: list[str], values: dict[str, list[str]]) -> bool:
        if operator == "Null":
            return ("false" if given else "true") in [each.lower() for each in wanted]
        optional = operator.endswith("IfExists")
        operator = operator.removesuffix("IfExists")
        if optional and not given:
            return True
        if operator.startswith("ForAllValues:"):
            operator = operator.removeprefix("ForAllValues:")
            return not [value for value in given if not self.fits(operator, [value], wanted, values)]
        if operator.startswith("ForAnyValue:"):
            operator = operator.removeprefix("ForAnyValue:")
            return bool([value for value in given if self.fits(operator, [value], wanted, values)])
        return self.fits(operator, given, wanted, values)

    def fits(self, operator: str, given: list[str], wanted: list[str], values: dict[str, list[str]]) -> bool:
        positive = operator.replace("Not", "")
        pairs = [(value, each) for value in given for each in wanted]
        return any(self.equal(positive, value, each, values) for value, each in pairs) == (positive == operator)

    def equal(self, operator: str, value: str, wanted: str, values: dict[str, list[str]]) -> bool:
        if operator.startswith(("String", "Arn")):
            wild = operator in ("StringLike", "ArnLike", "ArnEquals")
            pattern = characters(wanted, values if self.variables else None, wild)
            if not isinstance(pattern, tuple):
                return False
            if operator.startswith("Arn"):
                return self.arn(pattern, value)
            if operator.endswith("IgnoreCase"):
                return "".join(pattern).casefold() == value.casefold()
            return like(pattern, value)
        try:
            return self.ordered(operator, value, wanted)
        except ValueError:
            return False

    @staticmethod
    def arn(pattern: tuple[str, ...], value: str) -> bool:
        parts: list[list[str]] = [[]]
        for character in pattern:
            if character == ":" and len(parts) < 6:
                parts.append([])
            else:
                parts[-1].append(character)
        own = value.split(":", 5)
        return len(parts) == len(own) == 6 and all(
            like(tuple(part), text) for part, text in zip(parts, own, strict=True)
        )

    @staticmethod
    def ordered(operator: str, value: str, wanted: str) -> bool:
        if operator == "Bool":
            return value.lower() == wanted.lower()
        if operator == "BinaryEquals":
            return base64.b64encode(value.encode()).decode() == wanted
        if operator == "IpAddress":
            return ipaddress.ip_address(value) in ipaddress.ip_network(wanted)
        kind = "Numeric" if operator.startswith("Numeric") else "Date"
        read = Fraction if kind == "Numeric" else instant
        left, right = read(value), read(wanted)
        return {
            "Equals": left == right,
            "LessThan": left < right,
            "LessThanEquals": left <= right,
            "GreaterThan": left > right,
            "GreaterThanEquals": left >= right,
        }[operator.removeprefix(kind)]


def instant(text: str) -> float:
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) and len(text) != 4:
        return float(text)
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

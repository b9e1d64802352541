"""Texts of a policy that a text of a request may match: with wildcards, with variables, or as they are.

IAM User Guide, "IAM policy elements: Variables and tags": ``${key}`` stands for the value that the request has for a
key, ``${key, 'default'}`` for another one when it has none, and ``${*}``, ``${?}``, ``${$}`` for these very characters.
A variable without a value makes a text that nothing is equal to. What a variable stands for has no wildcards in it.

Matching never goes back behind a wildcard that has been passed: each ``*`` takes the first place where what follows
it fits. So it costs at most the length of the pattern times that of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

import msgspec

Values = Mapping[str, Sequence[str]]
"""What is known of a request, by condition key in lower case. No values: the key is not there."""

_VARIABLE = re.compile(r"\$\{(?:(?P<special>[*?$])|(?P<key>[^{}',\s]+)(?:\s*,\s*'(?P<default>[^'{}]*)')?\s*)\}")
_ARN_PARTS = 6


class Wildcard(Enum):
    ONE = "?"
    MANY = "*"


class Variable(msgspec.Struct, frozen=True):
    key: str
    default: str | None

    def value(self, values: Values) -> str | None:
        found = values.get(self.key, ())
        return found[0] if len(found) == 1 else self.default


Part = str | Wildcard | Variable


class Pattern:
    """Made once, matched often. ``any_case``: letters match in either case."""

    __slots__ = ("_any_case", "_parts", "_regex", "_text")

    def __init__(self, parts: Iterable[Part], any_case: bool = False) -> None:
        self._any_case = any_case
        self._parts = tuple(_folded(parts) if any_case else parts)
        self._text: str | None = None
        self._regex: re.Pattern[str] | None = None
        if not any(isinstance(part, Variable) for part in self._parts):
            self._text, self._regex = _compiled(self._parts)

    def matches(self, text: str, values: Values) -> bool:
        if self._any_case:
            text = text.casefold()
        exact, regex = self._text, self._regex
        if exact is None and regex is None:
            parts = self._resolved(values)
            if parts is None:
                return False
            exact, regex = _compiled(parts)
        return text == exact if regex is None else regex.match(text) is not None

    def _resolved(self, values: Values) -> tuple[Part, ...] | None:
        """Without variables; None when one has no value."""
        resolved: list[Part] = []
        for part in self._parts:
            if isinstance(part, Variable):
                value = part.value(values)
                if value is None:
                    return None
                resolved.append(value.casefold() if self._any_case else value)
            else:
                resolved.append(part)
        return tuple(resolved)


class ArnPattern:
    """Each of the six parts of an ARN is matched for itself, so that no wildcard reaches over a colon."""

    __slots__ = ("_patterns",)

    def __init__(self, parts: Iterable[Part]) -> None:
        self._patterns = [Pattern(each) for each in _split(parts)]

    def matches(self, text: str, values: Values) -> bool:
        given = text.split(":", _ARN_PARTS - 1)
        if not len(given) == len(self._patterns) == _ARN_PARTS:
            return False
        return all(pattern.matches(part, values) for pattern, part in zip(self._patterns, given, strict=True))


def read(text: str, *, wildcards: bool, variables: bool) -> tuple[Part, ...]:
    """What is neither is taken as it stands."""
    parts: list[Part] = []
    end = 0
    for match in _VARIABLE.finditer(text) if variables else ():
        parts.extend(_with_wildcards(text[end : match.start()], wildcards))
        key = match["key"]
        parts.append(match["special"] if key is None else Variable(key.lower(), match["default"]))
        end = match.end()
    parts.extend(_with_wildcards(text[end:], wildcards))
    return tuple(parts)


def resource(text: str, *, variables: bool) -> Pattern:
    """Variables count in an ARN's last part only."""
    pieces = text.split(":", _ARN_PARTS - 1)
    if len(pieces) < _ARN_PARTS:
        return Pattern(read(text, wildcards=True, variables=variables and not text.startswith("arn:")))
    head = ":".join(pieces[:-1]) + ":"
    tail = read(pieces[-1], wildcards=True, variables=variables)
    return Pattern((*read(head, wildcards=True, variables=False), *tail))


def _with_wildcards(text: str, wildcards: bool) -> Iterator[Part]:
    pieces = re.split(r"([*?])", text) if wildcards else [text]
    for position, piece in enumerate(pieces):
        if position % 2:
            yield Wildcard(piece)
        elif piece:
            yield piece


def _folded(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        yield part.casefold() if isinstance(part, str) else part


def _split(parts: Iterable[Part]) -> list[list[Part]]:
    """At the first five colons."""
    found: list[list[Part]] = [[]]
    for part in parts:
        if not isinstance(part, str):
            found[-1].append(part)
            continue
        first, *others = part.split(":", _ARN_PARTS - len(found))
        found[-1].append(first)
        found.extend([other] for other in others)
    return found


def _compiled(parts: Sequence[Part]) -> tuple[str | None, re.Pattern[str] | None]:
    """The text when there are no wildcards, else an expression."""
    if not any(isinstance(part, Wildcard) for part in parts):
        return "".join(part for part in parts if isinstance(part, str)), None
    pieces = [""]
    for part in parts:
        if part is Wildcard.MANY:
            pieces.append("")
        else:
            pieces[-1] += "." if part is Wildcard.ONE else re.escape(str(part))
    first, *rest = pieces
    expression = first
    if rest:
        *middle, last = rest
        expression += "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + last
    return None, re.compile(expression + r"\Z", re.DOTALL)

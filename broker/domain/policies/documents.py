"""Policy documents: JSON that says who may do what to a resource, read into a policy that can be asked.

IAM User Guide, "Grammar of the IAM JSON policy language", for policies of resources: each statement names principals.
Whatever the grammar does not know is refused, and the message says where in the document, and what is wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from broker.base.errors import InvalidArgument
from broker.domain.policies import conditions, patterns, principals
from broker.domain.policies.conditions import Condition
from broker.domain.policies.patterns import Pattern
from broker.domain.policies.policy import Decision, Policy, Selection, Statement
from broker.domain.policies.principals import EVERYONE, Principals

OLD_VERSION, VERSION = "2008-10-17", "2012-10-17"
"""Variables count in documents of the newer one. What names none is of the older one."""
_ELEMENTS = ("Version", "Id", "Statement")
_STATEMENT = (
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
)
_ACTION = re.compile(r"\*(?::\*)?|[A-Za-z0-9-]+:[A-Za-z0-9*?]+", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]+")

Object = Mapping[str, Any]


def parse(document: str | Object) -> Policy:
    """``document``: JSON text, or what was decoded from it. Raises InvalidArgument."""
    root = _decoded(document) if isinstance(document, str) else document
    _check_names(root, _ELEMENTS, "the document")
    version = root.get("Version", OLD_VERSION)
    if version not in (OLD_VERSION, VERSION):
        raise InvalidArgument(f"Version is {OLD_VERSION} or {VERSION}, not {_shown(version)}")
    if not isinstance(root.get("Id", ""), str):
        raise InvalidArgument("Id must be a text")
    statements = _statements(root)
    sids = [statement.sid for statement in statements if statement.sid]
    if repeated := next((sid for sid in sids if sids.count(sid) > 1), None):
        raise InvalidArgument(f"two statements have the Sid {_shown(repeated)}: each needs its own")
    return Policy(statements)


def _statements(root: Object) -> tuple[Statement, ...]:
    given = root.get("Statement")
    listed = given if isinstance(given, list) else [given]
    if given is None or not listed:
        raise InvalidArgument("the document needs a Statement")
    variables = root.get("Version") == VERSION
    return tuple(_statement(each, f"Statement[{place}]", variables) for place, each in enumerate(listed))


def _statement(given: Any, where: str, variables: bool) -> Statement:
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"{where} must be an object, not {_shown(given)}")
    _check_names(given, _STATEMENT, where)
    sid, effect = given.get("Sid", ""), given.get("Effect")
    if not isinstance(sid, str):
        raise InvalidArgument(f"{where}.Sid must be a text, not {_shown(sid)}")
    if effect not in (Decision.ALLOW.value, Decision.DENY.value):
        raise InvalidArgument(f"{where}.Effect must be Allow or Deny, not {_shown(effect)}")
    name, but_principals = _one_of(given, "Principal", where)
    return Statement(
        sid,
        Decision(effect),
        _principals(given[name], f"{where}.{name}"),
        but_principals,
        _actions(given, where),
        _resources(given, where, variables),
        _conditions(given.get("Condition", {}), f"{where}.Condition", variables),
    )


def _principals(given: Any, where: str) -> Principals:
    if given == EVERYONE:
        given = {"AWS": EVERYONE}
    if not isinstance(given, Mapping) or not given:
        raise InvalidArgument(f'{where} must be "*" or an object such as {{"AWS": "123456789012"}}')
    try:
        return principals.compiled({kind: _texts(names, f"{where}.{kind}") for kind, names in given.items()})
    except InvalidArgument as error:
        raise _within(where, error) from None


def _actions(given: Object, where: str) -> Selection:
    name, others = _one_of(given, "Action", where)
    texts = _texts(given[name], f"{where}.{name}")
    for text in texts:
        if not _ACTION.fullmatch(text):
            raise InvalidArgument(f"{where}.{name} must be like service:Action, not {_shown(text)}")
    read = (patterns.read(text, wildcards=True, variables=False) for text in texts)
    return Selection(tuple(texts), tuple(Pattern(parts, any_case=True) for parts in read), others)


def _resources(given: Object, where: str, variables: bool) -> Selection:
    name, others = _one_of(given, "Resource", where)
    texts = _texts(given[name], f"{where}.{name}")
    for text in texts:
        if text != EVERYONE and not text.startswith("arn:"):
            raise InvalidArgument(f'{where}.{name} must be an ARN or "*", not {_shown(text)}')
    return Selection(tuple(texts), tuple(patterns.resource(text, variables=variables) for text in texts), others)


def _conditions(given: Any, where: str, variables: bool) -> tuple[Condition, ...]:
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"{where} must be an object, not {_shown(given)}")
    found: list[Condition] = []
    for operator, keys in given.items():
        inside = f"{where}.{operator}"
        if not isinstance(keys, Mapping) or not keys:
            raise InvalidArgument(f"{inside} must be an object that names a key, not {_shown(keys)}")
        for key in keys:
            if not _KEY.fullmatch(key):
                raise InvalidArgument(f"{inside}: {_shown(key)} is not a condition key")
        texts = {key: _texts(values, f"{inside}.{key}", scalars=True) for key, values in keys.items()}
        try:
            found.extend(conditions.compiled(operator, texts, variables))
        except InvalidArgument as error:
            raise _within(inside, error) from None
    return tuple(found)


def _one_of(given: Object, name: str, where: str) -> tuple[str, bool]:
    """Which of an element and its opposite is there; whether it is the opposite."""
    opposite = f"Not{name}"
    if (name in given) == (opposite in given):
        raise InvalidArgument(f"{where} needs one of {name} and {opposite}")
    return (name, False) if name in given else (opposite, True)


def _texts(given: Any, where: str, scalars: bool = False) -> list[str]:
    """One or a list. ``scalars``: numbers and booleans, too, as JSON writes them."""
    listed = given if isinstance(given, list) else [given]
    if not listed:
        raise InvalidArgument(f"{where} must not be empty")
    texts = []
    for each in listed:
        if scalars and isinstance(each, bool):
            texts.append(str(each).lower())
        elif isinstance(each, str) or (scalars and isinstance(each, int | float | Decimal)):
            texts.append(str(each))
        else:
            raise InvalidArgument(f"{where} must be a text or a list of texts, not {_shown(each)}")
    return texts


def _check_names(given: Object, known: Iterable[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidArgument(f"{where} has no element {_shown(name)}; it may have {', '.join(known)}")


def _decoded(text: str) -> Object:
    try:
        root = json.loads(
            text, object_pairs_hook=_object, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant
        )
    except RecursionError:
        raise InvalidArgument("the document is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"the document is not JSON: {error}") from None
    if not isinstance(root, Mapping):
        raise InvalidArgument("the document must be a JSON object")
    return root


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidArgument(f"the document has {_shown(name)} twice in the same object")
        found[name] = value
    return found


def _no_constant(text: str) -> Any:
    raise InvalidArgument(f"the document is not JSON: {text} is no number")


def _within(where: str, error: InvalidArgument) -> InvalidArgument:
    message = str(error)
    return error if message.startswith(where) else InvalidArgument(f"{where}: {message}")


def _shown(given: Any) -> str:
    """What is inside of lists and objects is left out: it may be nested more deeply than can be written."""
    if given is None:
        return "missing"
    return (
        "an object" if isinstance(given, Mapping) else "a list" if isinstance(given, list) else repr(str(given)[:100])
    )

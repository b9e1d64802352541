"""Condition operators: what each makes of a value in a policy, to be held against a value of a request.

IAM User Guide, "IAM JSON policy elements: Condition operators". A negated operator is its positive one and the opposite
of what that says. This room must not know what several values, or none, mean.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from operator import eq, ge, gt, le, lt
from typing import Any, NamedTuple, TypeVar

from broker.base.errors import InvalidArgument
from broker.domain.policies import dates, patterns
from broker.domain.policies.patterns import ArnPattern, Pattern, Values

Test = Callable[[str, Values], bool]
"""Whether a value of the request matches the policy's value."""
Make = Callable[[str, bool], Test]
"""From a policy's value; whether variables count in it. Raises InvalidArgument."""
Known = TypeVar("Known")

_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,2})?", re.ASCII)


class Operator(NamedTuple):
    make: Make
    negated: bool = False


def find(name: str) -> Operator | None:
    return _OPERATORS.get(name)


def boolean(text: str) -> bool | None:
    """None: it is none."""
    return {"true": True, "false": False}.get(text.lower())


def _exact(text: str, variables: bool) -> Test:
    return Pattern(patterns.read(text, wildcards=False, variables=variables)).matches


def _exact_in_any_case(text: str, variables: bool) -> Test:
    return Pattern(patterns.read(text, wildcards=False, variables=variables), any_case=True).matches


def _like(text: str, variables: bool) -> Test:
    return Pattern(patterns.read(text, wildcards=True, variables=variables)).matches


def _arn(text: str, variables: bool) -> Test:
    return ArnPattern(patterns.read(text, wildcards=True, variables=variables)).matches


def _compared(
    read: Callable[[str], Known | None], compare: Callable[[Any, Any], bool], wanted: str
) -> Callable[[str, bool], Test]:
    """``compare``: a request's value with the policy's. What cannot be read in a request matches nothing."""

    def make(text: str, _: bool) -> Test:
        limit = read(text)
        if limit is None:
            raise InvalidArgument(f"{text[:100]!r} is not {wanted}")

        def test(given: str, _: Values) -> bool:
            value = read(given)
            return value is not None and compare(value, limit)

        return test

    return make


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _binary(text: str, _: bool) -> Test:
    try:
        wanted = b64decode(text, validate=True)
    except (Error, ValueError):
        raise InvalidArgument(f"{text[:100]!r} is not base64") from None
    return lambda given, _: given.encode() == wanted


def _address(text: str, _: bool) -> Test:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"{text[:100]!r} is not an IP address or range, such as 203.0.113.0/24") from None
    return lambda given, _: _is_in(given, network)


def _is_in(given: str, network: IPv4Network | IPv6Network) -> bool:
    address = _parsed(given)
    return address is not None and address in network


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 address may be written as an IPv6 one that stands for it. Callers come back: most are known."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


_ORDERS = {"Equals": eq, "LessThan": lt, "LessThanEquals": le, "GreaterThan": gt, "GreaterThanEquals": ge}
_A_NUMBER, _A_DATE = "a number", "a date, such as 2026-01-31T12:00:00Z, or seconds of Unix time"

_POSITIVE: dict[str, Make] = {
    "StringEquals": _exact,
    "StringEqualsIgnoreCase": _exact_in_any_case,
    "StringLike": _like,
    "ArnEquals": _arn,
    "ArnLike": _arn,
    "Bool": _compared(boolean, eq, "true or false"),
    "BinaryEquals": _binary,
    "IpAddress": _address,
    **{f"Numeric{order}": _compared(_number, compare, _A_NUMBER) for order, compare in _ORDERS.items()},
    **{f"Date{order}": _compared(dates.read, compare, _A_DATE) for order, compare in _ORDERS.items()},
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
_OPERATORS = {
    **{name: Operator(make) for name, make in _POSITIVE.items()},
    **{name: Operator(_POSITIVE[positive], negated=True) for name, positive in _NEGATED.items()},
}
NAMES = frozenset(_OPERATORS)

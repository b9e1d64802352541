"""Conditions of policies: every operator, several values, keys that are not there, and what is no condition."""

from __future__ import annotations

from typing import Any

import pytest

from broker.base.errors import InvalidArgument
from broker.domain.policies.conditions import compiled

VALUES = {
    "name": ["Ann"],
    "count": ["10"],
    "when": ["2026-01-31T12:00:00Z"],
    "epoch": ["1700000000"],
    "secure": ["true"],
    "ip": ["203.0.113.7"],
    "ip6": ["2001:db8::7"],
    "mapped": ["::ffff:203.0.113.7"],
    "arn": ["arn:aws:sns:us-east-1:111122223333:news"],
    "tags": ["red", "green"],
    "blob": ["hello"],
    "empty": [],
}


def holds(operator: str, keys: dict[str, list[str]], variables: bool = True) -> bool:
    return all(condition.holds(VALUES) for condition in compiled(operator, keys, variables))


@pytest.mark.parametrize(
    ("operator", "key", "given", "expected"),
    [
        ("StringEquals", "name", "Ann", True),
        ("StringEquals", "NAME", "Ann", True),  # keys are in any case
        ("StringEquals", "name", "ann", False),
        ("StringEquals", "name", "A*", False),
        ("StringNotEquals", "name", "ann", True),
        ("StringNotEquals", "name", "Ann", False),
        ("StringEqualsIgnoreCase", "name", "aNN", True),
        ("StringNotEqualsIgnoreCase", "name", "aNN", False),
        ("StringLike", "name", "A?n", True),
        ("StringLike", "name", "a*", False),
        ("StringNotLike", "name", "A*", False),
        ("StringNotLike", "name", "B*", True),
        ("StringEquals", "name", "${name}", True),
        ("StringEquals", "name", "${missing}", False),
        ("StringNotEquals", "name", "${missing}", True),
        ("NumericEquals", "count", "10.0", True),
        ("NumericNotEquals", "count", "10", False),
        ("NumericLessThan", "count", "10", False),
        ("NumericLessThan", "count", "10.5", True),
        ("NumericLessThanEquals", "count", "10", True),
        ("NumericGreaterThan", "count", "9", True),
        ("NumericGreaterThanEquals", "count", "11", False),
        ("NumericEquals", "name", "10", False),  # no number
        ("NumericNotEquals", "name", "10", True),
        ("NumericGreaterThan", "epoch", "1.6e9", True),
        ("DateEquals", "when", "2026-01-31T13:00:00+01:00", True),
        ("DateNotEquals", "when", "2026-01-31T12:00:00Z", False),
        ("DateLessThan", "when", "2026-02", True),
        ("DateLessThanEquals", "when", "2026-01-31", False),
        ("DateGreaterThan", "epoch", "2023", True),
        ("DateGreaterThanEquals", "epoch", "1700000000", True),
        ("Bool", "secure", "true", True),
        ("Bool", "secure", "True", True),
        ("Bool", "secure", "false", False),
        ("Bool", "name", "false", False),
        ("BinaryEquals", "blob", "aGVsbG8=", True),
        ("BinaryEquals", "blob", "aGVsbG8h", False),
        ("IpAddress", "ip", "203.0.113.0/24", True),
        ("IpAddress", "ip", "203.0.113.9/24", True),
        ("IpAddress", "ip", "203.0.113.7", True),
        ("IpAddress", "ip", "203.0.113.8", False),
        ("IpAddress", "ip", "0.0.0.0/0", True),
        ("IpAddress", "ip6", "0.0.0.0/0", False),
        ("IpAddress", "ip6", "2001:db8::/32", True),
        ("IpAddress", "mapped", "203.0.113.0/24", True),
        ("IpAddress", "name", "0.0.0.0/0", False),
        ("NotIpAddress", "ip", "203.0.113.0/24", False),
        ("NotIpAddress", "ip", "198.51.100.0/24", True),
        ("ArnEquals", "arn", "arn:aws:sns:*:111122223333:n*", True),
        ("ArnLike", "arn", "arn:aws:sns:us-east-1:111122223333:news", True),
        ("ArnLike", "arn", "arn:aws:sns:us-east-1:*", False),
        ("ArnNotEquals", "arn", "arn:aws:sns:*:111122223333:n*", False),
        ("ArnNotLike", "arn", "arn:aws:sns:*:444455556666:n*", True),
        ("Null", "name", "false", True),
        ("Null", "name", "true", False),
        ("Null", "missing", "true", True),
        ("Null", "empty", "true", True),
    ],
)
def test_one_value(operator: str, key: str, given: str, expected: bool) -> None:
    assert holds(operator, {key: [given]}) is expected


@pytest.mark.parametrize(
    ("operator", "keys", "expected"),
    [
        ("StringEquals", {"name": ["Bob", "Ann"]}, True),
        ("StringEquals", {"name": ["Bob", "Cid"]}, False),
        ("StringNotEquals", {"name": ["Bob", "Ann"]}, False),
        ("StringNotEquals", {"name": ["Bob", "Cid"]}, True),
        ("StringEquals", {"name": ["Ann"], "count": ["10"]}, True),
        ("StringEquals", {"name": ["Ann"], "count": ["11"]}, False),
        ("Null", {"name": ["true", "false"]}, True),
        ("NumericLessThan", {"count": ["5", "50"]}, True),
    ],
)
def test_values_are_alternatives_and_keys_are_not(operator: str, keys: dict[str, list[str]], expected: bool) -> None:
    assert holds(operator, keys) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringLike", False),
        ("StringNotLike", True),
        ("NumericLessThan", False),
        ("NumericNotEquals", True),
        ("DateNotEquals", True),
        ("Bool", False),
        ("IpAddress", False),
        ("NotIpAddress", True),
        ("ArnEquals", False),
        ("ArnNotLike", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("BoolIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAllValues:StringNotEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
@pytest.mark.parametrize("key", ["missing", "empty"])
def test_a_key_that_the_request_does_not_have(operator: str, key: str, expected: bool) -> None:
    given = {"Numeric": "1", "Date": "2026", "Bool": "true", "IpA": "10.0.0.0/8", "NotI": "10.0.0.0/8"}
    value = next((text for start, text in given.items() if operator.startswith(start)), "x")
    assert holds(operator, {key: [value]}) is expected


@pytest.mark.parametrize(
    ("operator", "given", "expected"),
    [
        ("ForAllValues:StringEquals", ["red", "green", "blue"], True),
        ("ForAllValues:StringEquals", ["red"], False),
        ("ForAnyValue:StringEquals", ["red"], True),
        ("ForAnyValue:StringEquals", ["blue"], False),
        ("ForAllValues:StringNotEquals", ["blue"], True),
        ("ForAllValues:StringNotEquals", ["red"], False),
        ("ForAnyValue:StringNotEquals", ["red"], True),
        ("ForAnyValue:StringNotEquals", ["red", "green"], False),
        ("ForAllValues:StringLike", ["*e*"], True),
        ("StringEquals", ["green"], True),
        ("StringNotEquals", ["green"], False),
    ],
)
def test_a_key_with_several_values(operator: str, given: list[str], expected: bool) -> None:
    assert holds(operator, {"tags": given}) is expected


def test_variables_count_only_where_the_version_has_them() -> None:
    assert not holds("StringEquals", {"name": ["${name}"]}, variables=False)


@pytest.mark.parametrize(
    ("operator", "given", "reason"),
    [
        ("StringIs", "x", "'StringIs' is not a condition operator"),
        ("stringequals", "x", "'stringequals' is not a condition operator"),
        ("ForSomeValues:StringEquals", "x", "'ForSomeValues:StringEquals' is not a condition operator"),
        ("NullIfExists", "true", "'NullIfExists' is not a condition operator"),
        ("ForAllValues:Null", "true", "'ForAllValues:Null' is not a condition operator"),
        ("NumericEquals", "ten", "'ten' is not a number"),
        ("NumericEquals", "1e999", "'1e999' is not a number"),
        ("DateEquals", "soon", "'soon' is not a date, such as 2026-01-31T12:00:00Z, or seconds of Unix time"),
        ("Bool", "yes", "'yes' is not true or false"),
        ("Null", "yes", "Null takes true or false"),
        ("BinaryEquals", "%", "'%' is not base64"),
        ("IpAddress", "203.0.113", "'203.0.113' is not an IP address or range, such as 203.0.113.0/24"),
        ("NotIpAddress", "203.0.113.0/33", "'203.0.113.0/33' is not an IP address or range, such as 203.0.113.0/24"),
    ],
)
def test_what_is_no_condition(operator: str, given: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        compiled(operator, {"key": [given]}, True)
    assert str(caught.value) == reason

"""Any document of any shape decides as the naive evaluator does; and no text whatever is more than refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.base.errors import InvalidArgument
from broker.domain.policies.documents import parse
from broker.domain.policies.patterns import Pattern, read
from broker.domain.policies.policy import AccessRequest
from broker.domain.policies.principals import Requester
from tests.properties.policies.naive_policy import NaivePolicy, characters, like

ACCOUNTS = ["111122223333", "444455556666"]
ARNS = [f"arn:aws:iam::{account}:user/{name}" for account in ACCOUNTS for name in ("ann", "bob")]
REQUESTERS = [
    Requester(),
    Requester(service="sns.amazonaws.com"),
    Requester(canonical="c1"),
    *(Requester(arn.split(":")[4], (arn,)) for arn in ARNS),
    Requester(ACCOUNTS[0], (f"arn:aws:sts::{ACCOUNTS[0]}:assumed-role/r/s", f"arn:aws:iam::{ACCOUNTS[0]}:role/r")),
]
NAMES = [*ACCOUNTS, f"arn:aws:iam::{ACCOUNTS[0]}:root", *ARNS, f"arn:aws:iam::{ACCOUNTS[0]}:role/r", "*"]
ACTIONS = ["sqs:SendMessage", "SQS:send*", "sqs:*", "*", "sns:Publish", "sqs:?eceiveMessage"]
QUEUES = ["arn:aws:sqs:us-east-1:111122223333:ann", "arn:aws:sqs:us-east-1:111122223333:b*b"]
RESOURCES = [*QUEUES, "*", "arn:aws:sqs:*:ann", "arn:aws:sqs:*:*:${aws:username}", "arn:aws:sqs:*:*:b${*}b"]
KEYS = ["aws:username", "AWS:UserName", "n", "when", "ip", "flag", "tags", "arn", "absent"]
VALUES = {
    "aws:username": ["ann", "Ann", "b*b", ""],
    "n": ["10", "9.5", "-1", "many"],
    "when": ["2026-01-31T12:00:00Z", "1700000000", "never"],
    "ip": ["203.0.113.7", "2001:db8::7", "nowhere"],
    "flag": ["true", "false", "False"],
    "arn": ["arn:aws:sns:us-east-1:111122223333:news", "arn:aws:sns:x:y:z:news:b", "no"],
}
TEXTS = ["ann", "ANN", "a*", "*", "?nn", "", "${aws:username}", "${absent}", "${absent, 'ann'}", "${*}", "b*b"]
WANTED = {
    "String": TEXTS,
    "Unlike": TEXTS,
    "Arn": ["arn:aws:sns:*:111122223333:n*", "arn:*:*:*:*:*", "*", "arn:aws:sns:*", "arn:aws:sns:x:y:z:news:${absent}"],
    "Numeric": ["10", "9.50", 10, 9.5, "-1"],
    "Date": ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "1700000000", 1700000000, "2026-02-01T00:00Z"],
    "Bool": ["true", "false", True],
    "Binary": ["YW5u", "MTA=", ""],
    "IpAddress": ["203.0.113.0/24", "203.0.113.7", "2001:db8::/32", "0.0.0.0/0"],
}
ORDERS = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
OPERATORS = {
    "String": [f"String{kind}" for kind in ("Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like")],
    "Unlike": ["StringNotLike"],
    "Arn": ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
    "Numeric": [f"Numeric{order}" for order in ORDERS],
    "Date": [f"Date{order}" for order in ORDERS],
    "Bool": ["Bool"],
    "Binary": ["BinaryEquals"],
    "IpAddress": ["IpAddress", "NotIpAddress"],
}


def one_or_many(items: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(items) | st.lists(st.sampled_from(items), min_size=1, max_size=3)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from([*OPERATORS, "Null"]))
        if kind == "Null":
            operator, wanted = "Null", ["true", "false", True]
        else:
            prefix = draw(st.sampled_from(["", "", "", "ForAllValues:", "ForAnyValue:"]))
            operator = prefix + draw(st.sampled_from(OPERATORS[kind])) + draw(st.sampled_from(["", "", "IfExists"]))
            wanted = WANTED[kind]
        keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique_by=str.lower))
        found[operator] = {key: draw(one_or_many(wanted)) for key in keys}
    return found


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    kinds = {"AWS": NAMES, "Service": ["sns.amazonaws.com", "s3.amazonaws.com"], "CanonicalUser": ["c1"]}
    named = st.dictionaries(st.sampled_from([*kinds]), st.just(None), min_size=1)
    principals = {kind: draw(one_or_many(kinds[kind])) for kind in draw(named)} if draw(st.booleans()) else "*"
    negate = st.sampled_from(["", "", "Not"])
    return {
        "Effect": draw(st.sampled_from(["Allow", "Deny"])),
        draw(negate) + "Principal": principals,
        draw(negate) + "Action": draw(one_or_many(ACTIONS)),
        draw(negate) + "Resource": draw(one_or_many(RESOURCES)),
        "Condition": draw(conditions()),
    }


@st.composite
def contexts(draw: st.DrawFn) -> dict[str, list[str]]:
    keys = draw(st.lists(st.sampled_from([*VALUES]), unique=True))
    found = {key: [draw(st.sampled_from(VALUES[key]))] for key in keys}
    found["tags"] = draw(st.lists(st.sampled_from(["ann", "b*b", "x"]), max_size=2))
    return found


documents = st.fixed_dictionaries(
    {"Statement": statements() | st.lists(statements(), min_size=1, max_size=3)},
    optional={"Version": st.sampled_from(["2008-10-17", "2012-10-17", "2012-10-17"])},
)


@settings(max_examples=150, deadline=None)
@given(documents, st.sampled_from(REQUESTERS), st.sampled_from(QUEUES), contexts())
def test_every_document_decides_as_the_naive_evaluator_does(
    document: dict[str, Any], requester: Requester, resource: str, values: dict[str, list[str]]
) -> None:
    for form in (document, json.dumps(document)):
        policy = parse(form)
        for action in ("sqs:SendMessage", "sqs:ReceiveMessage"):
            decided = policy.decide(AccessRequest(requester, action, resource, values)).value
            assert decided == NaivePolicy(document).decide(requester, action, resource, values)


@settings(max_examples=300, deadline=None)
@given(conditions(), contexts(), st.sampled_from(["2008-10-17", "2012-10-17"]))
def test_every_condition_holds_as_the_naive_evaluator_says(
    block: dict[str, Any], values: dict[str, list[str]], version: str
) -> None:
    """Nothing else in the statement hides what a condition says."""
    open_to_all = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    document = {"Version": version, "Statement": {**open_to_all, "Condition": block}}
    decided = parse(document).decide(AccessRequest(Requester(), "sqs:SendMessage", QUEUES[0], values)).value
    assert decided == NaivePolicy(document).decide(Requester(), "sqs:SendMessage", QUEUES[0], values)


@settings(max_examples=500, deadline=None)
@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
@example("*ab*ab", "ab")
def test_wildcards_match_as_they_are_defined(pattern: str, text: str) -> None:
    spelled = characters(pattern, None, True)
    assert isinstance(spelled, tuple)
    assert Pattern(read(pattern, wildcards=True, variables=False)).matches(text, {}) == like(spelled, text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["*", "Allow"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Statement",
                    "Version",
                    "Effect",
                    "Principal",
                    "Action",
                    "Resource",
                    "Condition",
                    "AWS",
                    "StringLike",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(json_values | st.dictionaries(st.just("Statement"), json_values) | st.text(max_size=30))
def test_whatever_is_given_is_read_or_refused(document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with suppress(InvalidArgument):
        assert parse(text).statements


def test_the_naive_evaluator_knows_right_from_wrong() -> None:
    """Or both could say the same and be wrong."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    naive = NaivePolicy({"Statement": [statement, {**statement, "Effect": "Deny", "NotAction": "sqs:SendMessage"}]})
    naive.statements[1].pop("Action")
    assert naive.decide(Requester(), "sqs:SendMessage", QUEUES[0], {}) == "Allow"
    assert naive.decide(Requester(), "sqs:ReceiveMessage", QUEUES[0], {}) == "Deny"
    with pytest.raises(KeyError):
        naive.ordered("NumericNearly", "1", "1")

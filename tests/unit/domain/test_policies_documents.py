"""Policy documents as they are written: which are read, and what is said of those that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.base.errors import InvalidArgument
from broker.domain.policies.documents import parse

ARN = "arn:aws:sqs:us-east-1:111122223333:orders"
STATEMENT: dict[str, Any] = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": ARN}


def document(**changes: Any) -> dict[str, Any]:
    """With one statement, in which these elements are others; None: left out."""
    statement = {**STATEMENT, **changes}
    return {"Version": "2012-10-17", "Statement": {key: each for key, each in statement.items() if each is not None}}


@pytest.mark.parametrize(
    "given",
    [
        document(),
        {"Statement": [STATEMENT]},
        {"Version": "2008-10-17", "Id": "x", "Statement": [{**STATEMENT, "Sid": "a"}, {**STATEMENT, "Sid": "b"}]},
        {"Statement": [{**STATEMENT, "Sid": ""}, STATEMENT]},
        document(Principal={"AWS": ["111122223333", "arn:aws:iam::111122223333:root", "*"]}),
        document(Principal={"AWS": "arn:aws:iam::111122223333:user/division/ann@example.org"}),
        document(Principal={"AWS": "arn:aws:sts::111122223333:assumed-role/role/session"}),
        document(Principal={"Service": "sns.amazonaws.com", "Federated": "accounts.google.com"}),
        document(Principal={"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}),
        document(Principal=None, NotPrincipal={"AWS": "111122223333"}),
        document(Action=None, NotAction=["sqs:SendMessage", "SQS:rec*"]),
        document(Action="*"),
        document(Resource=None, NotResource="*"),
        document(Condition={}),
        document(Condition={"Bool": {"aws:SecureTransport": True}, "NumericLessThan": {"n": [1, 2.5]}}),
        document(Condition={"StringEquals": {"aws:PrincipalTag/team": ["a", "b"]}}),
    ],
)
def test_documents_that_are_read(given: dict[str, Any]) -> None:
    assert parse(given) is not None
    assert parse(json.dumps(given)) is not None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "the document needs a Statement"),
        ({"Statement": []}, "the document needs a Statement"),
        ({"Statement": ["x"]}, "Statement[0] must be an object, not 'x'"),
        ({"statement": []}, "the document has no element 'statement'; it may have Version, Id, Statement"),
        ({"Version": "2020-01-01", "Statement": STATEMENT}, "Version is 2008-10-17 or 2012-10-17, not '2020-01-01'"),
        ({"Id": 1, "Statement": STATEMENT}, "Id must be a text"),
        (
            {"Statement": [{**STATEMENT, "Sid": "a"}, {**STATEMENT, "Sid": "a"}]},
            "two statements have the Sid 'a': each needs its own",
        ),
        (document(Sid=1), "Statement[0].Sid must be a text, not '1'"),
        (document(Effect="allow"), "Statement[0].Effect must be Allow or Deny, not 'allow'"),
        (document(Effect="none"), "Statement[0].Effect must be Allow or Deny, not 'none'"),
        (document(Effect=None), "Statement[0].Effect must be Allow or Deny, not missing"),
        (
            document(Colour="red"),
            "Statement[0] has no element 'Colour'; it may have Sid, Effect, Principal, NotPrincipal, Action, "
            "NotAction, Resource, NotResource, Condition",
        ),
        (document(Principal=None), "Statement[0] needs one of Principal and NotPrincipal"),
        (document(NotPrincipal="*"), "Statement[0] needs one of Principal and NotPrincipal"),
        (document(Action=None), "Statement[0] needs one of Action and NotAction"),
        (document(NotResource="*"), "Statement[0] needs one of Resource and NotResource"),
        (
            document(Principal="111122223333"),
            'Statement[0].Principal must be "*" or an object such as {"AWS": "123456789012"}',
        ),
        (document(Principal={}), 'Statement[0].Principal must be "*" or an object such as {"AWS": "123456789012"}'),
        (document(Principal={"AWS": []}), "Statement[0].Principal.AWS must not be empty"),
        (
            document(Principal={"User": "x"}),
            "Statement[0].Principal: 'User' is not a kind of principal; there are AWS, Service, Federated, "
            "CanonicalUser",
        ),
        (
            document(Principal={"AWS": "1111"}),
            "Statement[0].Principal: '1111' is neither an account nor the ARN of a user, a role or a session",
        ),
        (
            document(Principal={"AWS": "111122223333:root"}),
            "Statement[0].Principal: '111122223333:root' is neither an account nor the ARN of a user, a role or a "
            "session",
        ),
        (
            document(Principal={"AWS": "arn:aws:iam::111122223333:user/*"}),
            "Statement[0].Principal: 'arn:aws:iam::111122223333:user/*' is not a principal: names have no wildcards, "
            "and * alone goes under AWS",
        ),
        (
            document(Principal={"Service": "*"}),
            "Statement[0].Principal: '*' is not a principal: names have no wildcards, and * alone goes under AWS",
        ),
        (document(Action=[]), "Statement[0].Action must not be empty"),
        (document(Action=7), "Statement[0].Action must be a text or a list of texts, not '7'"),
        (document(Action="SendMessage"), "Statement[0].Action must be like service:Action, not 'SendMessage'"),
        (document(Action=""), "Statement[0].Action must be like service:Action, not ''"),
        (document(Resource=""), "Statement[0].Resource must be an ARN or \"*\", not ''"),
        (document(Resource="orders"), "Statement[0].Resource must be an ARN or \"*\", not 'orders'"),
        (document(Condition=[]), "Statement[0].Condition must be an object, not a list"),
        (
            document(Condition={"StringEquals": "x"}),
            "Statement[0].Condition.StringEquals must be an object that names a key, not 'x'",
        ),
        (
            document(Condition={"StringEquals": {}}),
            "Statement[0].Condition.StringEquals must be an object that names a key, not an object",
        ),
        (
            document(Condition={"StringEquals": {"": "x"}}),
            "Statement[0].Condition.StringEquals: '' is not a condition key",
        ),
        (document(Condition={"StringEquals": {"a": []}}), "Statement[0].Condition.StringEquals.a must not be empty"),
        (
            document(Condition={"Equals": {"a": "b"}}),
            "Statement[0].Condition.Equals: 'Equals' is not a condition operator",
        ),
        (
            document(Condition={"NumericEquals": {"a": "b"}}),
            "Statement[0].Condition.NumericEquals: 'b' is not a number",
        ),
    ],
)
def test_documents_that_are_refused_are_told_why(given: dict[str, Any], reason: str) -> None:
    for form in (given, json.dumps(given)):
        with pytest.raises(InvalidArgument) as caught:
            parse(form)
        assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the document is not JSON"),
        ("{", "the document is not JSON"),
        ("[]", "the document must be a JSON object"),
        ('"x"', "the document must be a JSON object"),
        ('{"Statement": [], "Statement": []}', "the document has 'Statement' twice in the same object"),
        ('{"Id": NaN}', "the document is not JSON: NaN is no number"),
        ("[" * 5_000, "the document is nested too deeply"),
        ('{"a":' * 5_000, "the document is nested too deeply"),
    ],
)
def test_texts_that_are_no_documents(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=r"\A" + reason):
        parse(text)


def test_numbers_of_any_length_are_read() -> None:
    with pytest.raises(InvalidArgument, match="is not a number"):
        parse(json.dumps(document(Condition={"NumericEquals": {"a": 0}})).replace("0}", "9" * 6_000 + "}"))


@pytest.mark.parametrize("depth", range(100, 1_400, 50))
def test_no_depth_of_nesting_is_more_than_refused(depth: int) -> None:
    lists = '{"Statement":[{"Sid":' + "[" * depth + "]" * depth + "}]}"
    objects = '{"Statement":' + '{"a":' * depth + "1" + "}" * depth + "}"
    for text in (lists, objects):
        with pytest.raises(InvalidArgument):
            parse(text)

"""What policies decide: whom statements name, what they cover, and which of them wins."""

from __future__ import annotations

from typing import Any

import pytest

from broker.domain.policies.documents import parse
from broker.domain.policies.policy import AccessRequest, Decision
from broker.domain.policies.principals import Requester

ALLOW, DENY, NONE = Decision.ALLOW, Decision.DENY, Decision.NONE
ARN = "arn:aws:sqs:us-east-1:111122223333:orders"
ANN = Requester("444455556666", ("arn:aws:iam::444455556666:user/ann",))
ROOT = Requester("444455556666", ("arn:aws:iam::444455556666:root",))
SESSION = Requester(
    "444455556666",
    ("arn:aws:sts::444455556666:assumed-role/clerk/monday", "arn:aws:iam::444455556666:role/clerk"),
)
OTHER = Requester("777788889999", ("arn:aws:iam::777788889999:root",))
NOBODY = Requester()
NEWS = Requester(service="sns.amazonaws.com")
CANONICAL = Requester(canonical="79a59d")
STATEMENT: dict[str, Any] = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": ARN}


def decide(
    *statements: dict[str, Any],
    requester: Requester = ANN,
    action: str = "sqs:SendMessage",
    resource: str = ARN,
    **values: str,
) -> Decision:
    policy = parse({"Version": "2012-10-17", "Statement": list(statements)})
    return policy.decide(AccessRequest(requester, action, resource, {key: [value] for key, value in values.items()}))


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        ("*", {ANN, ROOT, SESSION, OTHER, NOBODY, NEWS, CANONICAL}),
        ({"AWS": "*"}, {ANN, ROOT, SESSION, OTHER, NOBODY, NEWS, CANONICAL}),
        ({"AWS": "444455556666"}, {ANN, ROOT, SESSION}),
        ({"AWS": "arn:aws:iam::444455556666:root"}, {ANN, ROOT, SESSION}),
        ({"AWS": "arn:aws:iam::444455556666:user/ann"}, {ANN}),
        ({"AWS": "arn:aws:iam::444455556666:user/Ann"}, set()),
        ({"AWS": "arn:aws:iam::444455556666:role/clerk"}, {SESSION}),
        ({"AWS": "arn:aws:sts::444455556666:assumed-role/clerk/monday"}, {SESSION}),
        ({"AWS": ["arn:aws:iam::444455556666:user/ann", "777788889999"]}, {ANN, OTHER}),
        ({"Service": "sns.amazonaws.com"}, {NEWS}),
        ({"Federated": "sns.amazonaws.com"}, set()),
        ({"CanonicalUser": "79a59d"}, {CANONICAL}),
        ({"AWS": "777788889999", "Service": ["s3.amazonaws.com", "sns.amazonaws.com"]}, {OTHER, NEWS}),
    ],
)
def test_whom_a_statement_names(principal: Any, named: set[Requester]) -> None:
    everybody = (ANN, ROOT, SESSION, OTHER, NOBODY, NEWS, CANONICAL)
    others = {key: value for key, value in STATEMENT.items() if key != "Principal"}
    for requester in everybody:
        decided = decide(STATEMENT | {"Principal": principal}, requester=requester)
        opposite = decide(others | {"NotPrincipal": principal}, requester=requester)
        assert (decided, opposite) == ((ALLOW, NONE) if requester in named else (NONE, ALLOW))


@pytest.mark.parametrize(
    ("element", "given", "covers"),
    [
        ("Action", "sqs:SendMessage", True),
        ("Action", "SQS:sendmessage", True),
        ("Action", "sqs:Send*", True),
        ("Action", "sqs:????Message", True),
        ("Action", "*", True),
        ("Action", "*:*", True),
        ("Action", "sns:SendMessage", False),
        ("Action", ["sqs:ReceiveMessage", "sqs:DeleteMessage"], False),
        ("Action", "sqs:SendMessageBatch", False),
        ("Resource", ARN, True),
        ("Resource", "*", True),
        ("Resource", "arn:aws:sqs:*:111122223333:ord*", True),
        ("Resource", "arn:aws:sqs:*:orders", True),
        ("Resource", ARN + "2", False),
        ("Resource", ARN.replace("orders", "Orders"), False),
        ("Resource", ["arn:aws:sqs:us-east-1:111122223333:a", ARN], True),
    ],
)
def test_what_a_statement_covers(element: str, given: Any, covers: bool) -> None:
    others = {key: value for key, value in STATEMENT.items() if key != element}
    assert decide(STATEMENT | {element: given}) is (ALLOW if covers else NONE)
    assert decide(others | {f"Not{element}": given}) is (NONE if covers else ALLOW)


def test_deny_wins_wherever_it_stands() -> None:
    deny = STATEMENT | {"Effect": "Deny", "Principal": {"AWS": "444455556666"}}
    for statements in ([STATEMENT, deny], [deny, STATEMENT]):
        assert decide(*statements) is DENY
        assert decide(*statements, requester=OTHER) is ALLOW
        assert decide(*statements, action="sqs:ReceiveMessage") is NONE


def test_all_conditions_must_hold() -> None:
    condition = {"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:username": "ann", "other": "x"}}
    statement = STATEMENT | {"Condition": condition}
    good = {"aws:securetransport": "true", "aws:username": "ann", "other": "x"}
    assert decide(statement, **good) is ALLOW
    for key in good:
        assert decide(statement, **good | {key: "false"}) is NONE


def test_a_variable_in_a_resource() -> None:
    statement = STATEMENT | {"Resource": "arn:aws:sqs:*:111122223333:${aws:username}"}
    assert decide(statement, **{"aws:username": "orders"}) is ALLOW
    assert decide(statement, **{"aws:username": "*"}) is NONE
    assert decide(statement) is NONE


def test_variables_are_texts_in_the_older_version() -> None:
    statement = STATEMENT | {"Condition": {"StringEquals": {"aws:username": "${aws:username}"}}}
    request = AccessRequest(ANN, "sqs:SendMessage", ARN, {"aws:username": ["ann"]})
    assert parse({"Version": "2012-10-17", "Statement": statement}).decide(request) is ALLOW
    for older in ({"Version": "2008-10-17"}, {}):
        assert parse({**older, "Statement": statement}).decide(request) is NONE


def test_whether_there_is_a_deny_at_all_is_known() -> None:
    assert not parse({"Statement": STATEMENT}).may_deny
    assert parse({"Statement": [STATEMENT, STATEMENT | {"Effect": "Deny"}]}).may_deny

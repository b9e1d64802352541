from __future__ import annotations

import pytest

from broker.edge.aws.request import Credential, Credentials, Request

SCOPE = "K/20261128/eu-west-1/sqs/aws4_request"
FOUND = Credential("K", "20261128", "eu-west-1", "sqs")


def request(authorization: str | None) -> Request:
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    return Request("POST", "/", b"", headers, b"")


@pytest.mark.parametrize(
    ("authorization", "fields", "found"),
    [
        (f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0", {}, FOUND),
        (f"AWS4-HMAC-SHA256 SignedHeaders=host,Signature=0,Credential={SCOPE}", {}, FOUND),
        (None, {"X-Amz-Credential": SCOPE}, FOUND),
        (None, {}, None),
        ("Basic abc", {}, None),
        ("AWS4-HMAC-SHA256 Credential=K/eu-west-1, Signature=0", {}, None),
        (f"AWS4-HMAC-SHA256 Credential={'K' * 200}/20261128/eu-west-1/sqs/aws4_request", {}, None),
    ],
)
def test_a_credential_is_read_from_header_or_url(
    authorization: str | None, fields: dict[str, str], found: Credential | None
) -> None:
    credentials = Credentials()
    assert credentials.of(request(authorization), fields) == found
    assert credentials.of(request(authorization), fields) == found


def test_callers_without_end_are_not_remembered_without_end() -> None:
    credentials = Credentials()
    for number in range(10_000):
        credentials.of(request(f"AWS4-HMAC-SHA256 Credential=K{number}/20261128/eu-west-1/sqs/aws4_request, x"), {})
    assert len(credentials._known) <= 4_096

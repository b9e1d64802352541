from __future__ import annotations

import pytest

from broker.base.instants import Millis
from broker.edge.aws.accounts import Accounts, Defaults
from broker.edge.aws.contract import Caller
from broker.edge.aws.request import Request

ACCOUNTS = Accounts(Defaults("999999999999", "eu-central-1"))


async def caller(headers: dict[str, str], fields: dict[str, str] | None = None) -> Caller:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    return await ACCOUNTS.caller(Request("POST", "/", b"", raw, b""), fields or {}, None, Millis(0))


@pytest.mark.parametrize(
    ("access_key", "account"),
    [
        ("123456789012", "123456789012"),
        ("AKIDEXAMPLE", "999999999999"),
        ("1234567890123", "999999999999"),
        ("12345678901٣", "999999999999"),
    ],
)
async def test_an_access_key_of_twelve_digits_is_the_account(access_key: str, account: str) -> None:
    arn = f"arn:aws:iam::{account}:root"
    credential = f"{access_key}/20261128/eu-west-1/sqs/aws4_request"
    for _ in range(2):
        found = await caller({}, {"X-Amz-Credential": credential})
        assert found == Caller(account, "eu-west-1", access_key, arn, account)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("eu-west-2.queue.localhost:4566", "eu-west-2"),
        ("127.0.0.1:4566", "eu-central-1"),
        ("", "eu-central-1"),
    ],
)
async def test_without_a_credential_the_host_says_the_region_or_the_default_holds(host: str, region: str) -> None:
    found = await caller({"host": host})
    assert (found.account, found.region, found.access_key, found.anonymous) == ("999999999999", region, "", False)


async def test_a_key_may_be_named_without_a_signature() -> None:
    found = await caller({"host": "here"}, {"AWSAccessKeyId": "123456789012"})
    assert (found.account, found.access_key) == ("123456789012", "123456789012")

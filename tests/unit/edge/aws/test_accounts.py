from __future__ import annotations

import pytest

from broker.edge.aws.accounts import Accounts, Defaults
from broker.edge.aws.request import Credential

ACCOUNTS = Accounts(Defaults("999999999999", "eu-central-1"))


def credential(access_key: str) -> Credential:
    return Credential(access_key, "20261128", "eu-west-1", "sqs")


@pytest.mark.parametrize(
    ("access_key", "account"),
    [
        ("123456789012", "123456789012"),
        ("AKIDEXAMPLE", "999999999999"),
        ("1234567890123", "999999999999"),
        ("12345678901٣", "999999999999"),
    ],
)
def test_an_access_key_of_twelve_digits_is_the_account(access_key: str, account: str) -> None:
    for _ in range(2):
        caller = ACCOUNTS.caller(credential(access_key), "", "here")
        assert (caller.account, caller.region, caller.access_key) == (account, "eu-west-1", access_key)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("eu-west-2.queue.localhost:4566", "eu-west-2"),
        ("127.0.0.1:4566", "eu-central-1"),
        ("", "eu-central-1"),
    ],
)
def test_without_a_credential_the_host_says_the_region_or_the_default_holds(host: str, region: str) -> None:
    caller = ACCOUNTS.caller(None, "", host)
    assert (caller.account, caller.region, caller.access_key) == ("999999999999", region, "")

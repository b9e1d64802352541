"""Who calls in development mode, where nothing is checked: whoever the request says, from its credential if there is
one, else the host, else the defaults.

An access key of twelve digits is an account's number. Other keys do not say whose they are: the default account's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from broker.base.instants import Millis
from broker.edge.aws.contract import Caller
from broker.edge.aws.request import Credential, Credentials, Request
from broker.edge.aws.routing import Route

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
_REGION_IN_HOST = re.compile(r"\b([a-z]{2}(?:-[a-z]+)+-\d)\b")
_CALLERS_KEPT = 4_096


class Defaults(msgspec.Struct, frozen=True):
    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION


class Accounts:
    """Remembers the callers of the credentials of late."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._credentials = Credentials()
        self._known: dict[Credential, Caller] = {}

    async def caller(
        self, request: Request, fields: Mapping[str, str], _route: Route | None, _deadline: Millis
    ) -> Caller:
        """``fields``: of the URL and the form. Never raises."""
        credential = self._credentials.of(request, fields)
        if credential is None:
            # SDKs of long ago name the key without a credential.
            return self._caller(fields.get("AWSAccessKeyId", ""), region_of_host(request.header(b"host")))
        caller = self._known.get(credential)
        if caller is None:
            if len(self._known) >= _CALLERS_KEPT:
                self._known.clear()
            caller = self._known[credential] = self._caller(credential.access_key, credential.region)
        return caller

    def _caller(self, access_key: str, region: str) -> Caller:
        is_number = len(access_key) == 12 and access_key.isascii() and access_key.isdigit()
        account = access_key if is_number else self._defaults.account
        return Caller(account, region or self._defaults.region, access_key, root_of(account), account)


def region_of_host(host: str) -> str:
    """ "" when the name does not say."""
    match = _REGION_IN_HOST.search(host)
    return match[1] if match else ""


def root_of(account: str) -> str:
    """Its ARN."""
    return f"arn:aws:iam::{account}:root"

"""Whose request it is, and of which region: from the credential if there is one, else the host, else the defaults.

An access key of twelve digits is an account's number. Other keys do not say whose they are: the default account's.
"""

from __future__ import annotations

import re

import msgspec

from broker.edge.aws.contract import Caller
from broker.edge.aws.request import Credential

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
_REGION_IN_HOST = re.compile(r"\b([a-z]{2}(?:-[a-z]+)+-\d)\b")


class Defaults(msgspec.Struct, frozen=True):
    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION


class Accounts:
    """Remembers the callers of the credentials of late."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._known: dict[Credential, Caller] = {}

    def caller(self, credential: Credential | None, access_key: str, host: str) -> Caller:
        """``access_key``: one that was named without a credential, as SDKs of long ago do."""
        if credential is None:
            match = _REGION_IN_HOST.search(host)
            return Caller(self._account(access_key), match[1] if match else self._defaults.region, access_key)
        caller = self._known.get(credential)
        if caller is None:
            if len(self._known) > 4_096:
                self._known.clear()
            caller = Caller(self._account(credential.access_key), credential.region, credential.access_key)
            self._known[credential] = caller
        return caller

    def _account(self, access_key: str) -> str:
        is_number = len(access_key) == 12 and access_key.isascii() and access_key.isdigit()
        return access_key if is_number else self._defaults.account

"""Who calls, where signatures are checked: the owner of the access key that a request was signed with, or nobody.

In development mode ``accounts`` takes this place.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

from broker.base.errors import BrokerError
from broker.base.instants import Clock, Millis
from broker.domain.identity.commands import AccessKey
from broker.edge.aws import errors, sigv4
from broker.edge.aws.accounts import Defaults, region_of_host, root_of
from broker.edge.aws.contract import Caller
from broker.edge.aws.protocol import form
from broker.edge.aws.request import Request
from broker.edge.aws.routing import Route
from broker.edge.aws.signing_keys import SigningKeys
from broker.edge.aws.usual_signatures import UsualSignatures

_CALLERS_KEPT = 4_096
_OLD_SIGNATURES = ("AWSAccessKeyId", "Signature")
"""Of signatures before version 4, which are not taken."""


class Keys(Protocol):
    """Active access keys, the same object each time while nothing has changed. ``known``: without asking anybody;
    ``find`` raises BrokerError when nobody can be asked."""

    def known(self, identity: str) -> AccessKey | None: ...

    async def find(self, identity: str, deadline: Millis) -> AccessKey | None: ...


class Authentication:
    """``signing_name``: of a route's service, as signatures name it. ``takes_anonymous``: whether what a route is for
    may be open to everybody."""

    def __init__(
        self,
        keys: Keys,
        defaults: Defaults,
        clock: Clock,
        signing_name: Callable[[Route], str],
        takes_anonymous: Callable[[Route], bool],
    ) -> None:
        self._keys = keys
        self._signing_name = signing_name
        self._takes_anonymous = takes_anonymous
        self._defaults = defaults
        self._clock = clock
        self._signing_keys = SigningKeys()
        self._usual = UsualSignatures()
        self._callers: dict[tuple[str, str, str, str], Caller] = {}

    async def caller(self, request: Request, fields: Mapping[str, str], route: Route, deadline: Millis) -> Caller:
        """``fields``: of the URL and the form. Raises AwsError."""
        usual = self._usual.recognise(request)
        if usual is not None and usual.service == route.service:
            is_current = self._keys.known(usual.credential.access_key) is usual.key
            if is_current and self._usual.accepts(request, usual, self._clock.wall()):
                return usual.caller
        url_fields = form.decode(request.query)
        if not sigv4.is_signed(request, url_fields):
            return self._anonymous(request, fields, route)
        return await self._signed(request, url_fields, route, deadline)

    async def _signed(self, request: Request, url_fields: Mapping[str, str], route: Route, deadline: Millis) -> Caller:
        signature, service = sigv4.read(request, url_fields), self._signing_name(route)
        credential = signature.credential
        if signature.token:
            raise sigv4.unknown_key()  # there are no temporary credentials
        if credential.service != service:
            raise sigv4.mismatch(f"Credential should be scoped to correct service: '{service}'. ")
        key = self._keys.known(credential.access_key) or await self._find(credential.access_key, deadline)
        if key is None:
            raise sigv4.unknown_key()
        signing = self._signing_keys.derived(key.secret, credential.scope)
        sigv4.verify(request, signature, signing, self._clock.wall())
        caller = self._owner(key, credential.region)
        self._usual.learn(request, signature, route.service, key, signing, caller)
        return caller

    async def _find(self, access_key: str, deadline: Millis) -> AccessKey | None:
        try:
            return await self._keys.find(access_key, deadline)
        except BrokerError as error:
            raise errors.unavailable(f"the access key cannot be looked up: {error}") from error

    def _anonymous(self, request: Request, fields: Mapping[str, str], route: Route) -> Caller:
        if not self._takes_anonymous(route) or any(name in fields for name in _OLD_SIGNATURES):
            raise sigv4.missing()
        region = region_of_host(request.header(b"host")) or self._defaults.region
        return Caller("", region, anonymous=True)

    def _owner(self, key: AccessKey, region: str) -> Caller:
        known = (key.id, key.account, key.user, region)
        caller = self._callers.get(known)
        if caller is None:
            arn, user_id = root_of(key.account), key.account
            if key.user:
                arn = f"arn:aws:iam::{key.account}:user/{key.user}"
                user_id = _user_id(key.account, key.user)
            if len(self._callers) >= _CALLERS_KEPT:
                self._callers.clear()
            caller = self._callers[known] = Caller(key.account, region, key.id, arn, user_id)
        return caller


def _user_id(account: str, user: str) -> str:
    """In the form of AWS's (AIDA and 17 of A-Z2-7), and the same for all keys of a user."""
    return "AIDA" + base64.b32encode(hashlib.sha256(f"{account}:{user}".encode()).digest()).decode()[:17]

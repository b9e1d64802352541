"""Signatures in the form that nearly all come in, checked with what was remembered of the one before.

A client signs request after request with the same key, for the same day, over the same headers; only time, target and
body change. What is learned from a request that ``sigv4`` has accepted makes the next one cheap. This accepts nothing
that ``sigv4`` would not, and refuses nothing: what it does not accept is for ``sigv4`` to judge.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from operator import itemgetter

from broker.base.instants import WallMillis
from broker.domain.identity.commands import AccessKey
from broker.edge.aws import sigv4
from broker.edge.aws.chunks import CONTENT_HASH
from broker.edge.aws.contract import AwsError, Caller
from broker.edge.aws.request import Credential, Request
from broker.edge.aws.signing_keys import SigningKey
from broker.edge.aws.sigv4 import SKEW, Signature

_LAST = b"Signature="
_DIGITS = 64
_KEPT = 1_024
_VALUES_KEPT = 4_096
_DATE = b"x-amz-date"
_TOKEN = b"x-amz-security-token"


class Usual:
    """What the requests have in common whose Authorization begins alike: the key that signs them, if it is still the
    one that is given out, whose it is, and what is signed. ``service``: the one that they are for."""

    __slots__ = (
        "caller",
        "covers_target",
        "credential",
        "date",
        "key",
        "scope",
        "service",
        "signing",
        "template",
        "values",
    )

    def __init__(self, signature: Signature, service: str, key: AccessKey, signing: SigningKey, caller: Caller) -> None:
        names = signature.signed_headers
        self.credential: Credential = signature.credential
        self.service = service
        self.date = signature.credential.date.encode()
        self.scope = signature.credential.scope.encode()
        self.covers_target = sigv4.TARGET in names
        self.values = itemgetter(*names)
        lines = [name.replace(b"%", b"%%") + b":%b" for name in names]
        signed = b";".join(names).replace(b"%", b"%%")
        self.template = b"\n".join((b"POST", b"/", b"", *lines, b"", signed, b"%b"))
        self.key, self.signing, self.caller = key, signing, caller


class UsualSignatures:
    def __init__(self) -> None:
        self._known: dict[bytes, Usual] = {}
        self._instants: dict[bytes, WallMillis] = {}
        self._plain: set[bytes] = set()
        """Values of headers that are signed as they are."""

    def learn(
        self, request: Request, signature: Signature, service: str, key: AccessKey, signing: SigningKey, caller: Caller
    ) -> None:
        """From a request that was accepted."""
        authorization = request.headers.get(b"authorization", b"")
        begin = authorization[:-_DIGITS]
        if not begin.endswith(_LAST) or _DATE not in request.headers or len(signature.signed_headers) < 2:
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[begin] = Usual(signature, service, key, signing, caller)

    def recognise(self, request: Request) -> Usual | None:
        """If it may be one of the usual ones: then ``accepts`` tells whether it is."""
        authorization = request.headers.get(b"authorization")
        if authorization is None or request.query or request.path != "/" or request.method != "POST":
            return None
        return self._known.get(authorization[:-_DIGITS])

    def accepts(self, request: Request, usual: Usual, now: WallMillis) -> bool:
        """False: not, or not a usual one."""
        headers = request.headers
        try:
            stamp = headers[_DATE]
            values = usual.values(headers)
        except KeyError:
            return False
        made = self._instants.get(stamp)
        if made is None:
            made = self._read(stamp)
        if not (made - SKEW <= now <= made + SKEW and stamp.startswith(usual.date)):
            return False
        payload_hash = sha256(request.body).hexdigest().encode()
        if headers.get(CONTENT_HASH, payload_hash) != payload_hash or _TOKEN in headers:
            return False
        if not usual.covers_target and sigv4.TARGET in headers:
            return False
        if not self._plain.issuperset(values) and not self._are_plain(values):
            return False
        digest = sha256(usual.template % (*values, payload_hash)).hexdigest().encode()
        expected = usual.signing.sign(b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (stamp, usual.scope, digest))
        return compare_digest(expected, headers[b"authorization"][-_DIGITS:])

    def _are_plain(self, values: tuple[bytes, ...]) -> bool:
        """Whether there is nothing about them that is trimmed before it is signed."""
        if any(value != value.strip() or b"  " in value for value in values):
            return False
        if len(self._plain) >= _VALUES_KEPT:
            self._plain.clear()
        self._plain.update(value for value in values if len(value) < 200)
        return True

    def _read(self, stamp: bytes) -> WallMillis:
        """0 for what is no date."""
        text = stamp.decode("latin-1")
        try:
            made = sigv4.instant(text) if sigv4.is_stamp(text) else WallMillis(0)
        except AwsError:
            made = WallMillis(0)
        if len(self._instants) >= _VALUES_KEPT:
            self._instants.clear()
        if len(stamp) < 100:
            self._instants[stamp] = made
        return made

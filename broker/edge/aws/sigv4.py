"""Signature version 4, verified: in a header, in a presigned URL, and chunk by chunk of a streamed body.

Pure: the request, the secret and the time are handed in; whose secret it is, somebody else knows. A captured request
can be sent again while its signature holds, as with AWS.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

import msgspec

from broker.base.instants import MINUTE, SECOND, Millis, WallMillis
from broker.edge.aws.contract import AwsError
from broker.edge.aws.request import Credential, Credentials, Request

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = Millis(15 * MINUTE)
MAX_EXPIRY = 604_800
"""Seconds that a presigned URL may hold: seven days."""
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_SPACES = re.compile(r" +")
_KEYS_KEPT = 1_024
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})\r\n")


class Signature(msgspec.Struct, frozen=True):
    """``stamp``: when it was made, as YYYYMMDDTHHMMSSZ. ``expires``: seconds that a presigned URL holds from then."""

    credential: Credential
    signed_headers: tuple[str, ...]
    signature: str
    stamp: str
    token: str = ""
    expires: int | None = None


def read(request: Request, fields: Mapping[str, str]) -> Signature:
    """``fields``: of the URL. Raises AwsError when there is no signature, or not a whole one."""
    header = request.header(b"authorization")
    if header:
        return _from_header(request, header)
    if "X-Amz-Signature" in fields or "X-Amz-Credential" in fields:
        return _from_url(fields)
    raise AwsError(
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
        status=403,
        query_code="MissingAuthenticationToken",
    )


def unknown_key() -> AwsError:
    """Nobody has the access key, or it has been disabled."""
    message = "The security token included in the request is invalid."
    return AwsError("UnrecognizedClientException", message, status=403, query_code="InvalidClientTokenId")


class Verifier:
    """Remembers the signing keys of late: deriving one costs as much as all the rest."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], bytes] = {}

    def verify(self, request: Request, signature: Signature, secret: str, now: WallMillis) -> bytes:
        """The body, freed from its chunks if it came in signed ones. Raises AwsError."""
        _check_time(signature, now)
        key = self._key(secret, signature.credential)
        payload_hash = _payload_hash(request, signature)
        canonical = canonical_request(request, signature, payload_hash)
        if not hmac.compare_digest(_sign(key, signature, canonical), signature.signature):
            raise _mismatch()
        if payload_hash == STREAMING:
            return self._chunks(request.body, key, signature)
        if payload_hash != UNSIGNED and hashlib.sha256(request.body).hexdigest() != payload_hash:
            raise _mismatch()  # the header was signed, and says something else than the body
        return request.body

    def _key(self, secret: str, credential: Credential) -> bytes:
        known = (secret, credential.scope)
        key = self._keys.get(known)
        if key is None:
            key = f"AWS4{secret}".encode()
            for part in credential.scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.clear()
            self._keys[known] = key
        return key

    @staticmethod
    def _chunks(body: bytes, key: bytes, signature: Signature) -> bytes:
        """Each chunk signs itself and the signature before it; the last one is empty."""
        parts: list[bytes] = []
        position, before = 0, signature.signature
        while True:
            head = _CHUNK.match(body, position)
            if head is None:
                raise _mismatch()
            data = body[head.end() : head.end() + int(head[1], 16)]
            text = (
                f"{ALGORITHM}-PAYLOAD\n{signature.stamp}\n{signature.credential.scope}\n{before}\n{_EMPTY_HASH}\n"
                f"{hashlib.sha256(data).hexdigest()}"
            )
            before = head[2].decode()
            if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), before):
                raise _mismatch()
            if not data:
                return b"".join(parts)
            parts.append(data)
            position = head.end() + len(data) + 2  # over the line's end


def canonical_request(request: Request, signature: Signature, payload_hash: str) -> str:
    lines = [request.method, _canonical_path(request.path, signature.credential.service)]
    lines.append(_canonical_query(request.query, presigned=signature.expires is not None))
    lines += [f"{name}:{_trimmed(request.header(name.encode('latin-1')))}" for name in signature.signed_headers]
    return "\n".join((*lines, "", ";".join(signature.signed_headers), payload_hash))


def _from_header(request: Request, header: str) -> Signature:
    algorithm, _, rest = header.partition(" ")
    parts = dict(_PART.findall(rest))
    stamp = request.header(b"x-amz-date")
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parts
    ]
    if not _STAMP.fullmatch(stamp):
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if algorithm != ALGORITHM or missing:
        raise _incomplete(" ".join(missing) or f"Unsupported AWS 'algorithm': '{algorithm[:100]}'.")
    signed_headers = tuple(parts["SignedHeaders"].lower().split(";"))
    if "host" not in signed_headers:
        raise _incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return Signature(
        _credential(parts["Credential"]),
        signed_headers,
        parts["Signature"],
        stamp,
        request.header(b"x-amz-security-token"),
    )


def _from_url(fields: Mapping[str, str]) -> Signature:
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    missing = [name for name in names if f"X-Amz-{name}" not in fields]
    if missing:
        raise _incomplete(" ".join(f"AWS query-string parameters must include 'X-Amz-{name}'." for name in missing))
    algorithm, stamp, expires = (fields[f"X-Amz-{name}"] for name in ("Algorithm", "Date", "Expires"))
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm[:100]}'.")
    if not _STAMP.fullmatch(stamp):
        raise _incomplete("Date must be in ISO-8601 'basic format'.")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 8 and int(expires) <= MAX_EXPIRY):
        raise _incomplete(f"X-Amz-Expires must be a number of seconds up to {MAX_EXPIRY}.")
    return Signature(
        _credential(fields["X-Amz-Credential"]),
        tuple(fields["X-Amz-SignedHeaders"].lower().split(";")),
        fields["X-Amz-Signature"],
        stamp,
        fields.get("X-Amz-Security-Token", ""),
        int(expires),
    )


def _credential(text: str) -> Credential:
    found = Credentials.parse(text)
    if found is None:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got "
            f"'{text[:200]}'"
        )
    return found


def _check_time(signature: Signature, now: WallMillis) -> None:
    made = _instant(signature.stamp)
    if signature.stamp[:8] != signature.credential.date:
        raise _mismatch(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{signature.credential.date}' != '{signature.stamp[:8]}', from '{signature.stamp}'."
        )
    holds = SKEW if signature.expires is None else Millis(signature.expires * SECOND)
    if made + holds < now:
        raise _mismatch(
            f"Signature expired: {signature.stamp} is now earlier than {_stamp(now - holds)} ({_stamp(now)} - "
            f"{holds // MINUTE} min.)"
        )
    if made > now + SKEW:
        raise _mismatch(
            f"Signature not yet current: {signature.stamp} is still later than {_stamp(now + SKEW)} ({_stamp(now)} + "
            f"{SKEW // MINUTE} min.)"
        )


def _instant(stamp: str) -> int:
    try:
        date = (int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]))
        return (
            int(datetime(*date, int(stamp[9:11]), int(stamp[11:13]), int(stamp[13:15]), tzinfo=UTC).timestamp())
            * SECOND
        )
    except ValueError:
        raise _incomplete(f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.") from None


def _stamp(instant: int) -> str:
    return datetime.fromtimestamp(instant // SECOND, UTC).strftime("%Y%m%dT%H%M%SZ")


def _payload_hash(request: Request, signature: Signature) -> str:
    said = request.header(b"x-amz-content-sha256")
    if said:
        return said
    if signature.expires is not None and signature.credential.service == "s3":
        return UNSIGNED
    return hashlib.sha256(request.body).hexdigest()


def _sign(key: bytes, signature: Signature, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = f"{ALGORITHM}\n{signature.stamp}\n{signature.credential.scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def _canonical_path(path: str, service: str) -> str:
    """Percent-encoded once more than it came, without dot segments; S3's keys are taken as they are."""
    if path == "/":
        return path
    if service == "s3":
        return quote(unquote_to_bytes(path), safe="/~") or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    ends = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + ends, safe="/~")


def _canonical_query(query: bytes, presigned: bool) -> str:
    pairs = []
    for pair in query.split(b"&") if query else []:
        name, _, value = pair.partition(b"=")
        if presigned and name == b"X-Amz-Signature":
            continue
        pairs.append((_encode(name), _encode(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _trimmed(value: str) -> str:
    value = value.strip()
    return _SPACES.sub(" ", value) if "  " in value else value


def _encode(raw: bytes) -> str:
    return quote(unquote_to_bytes(raw.replace(b"+", b" ")), safe="~")


def _mismatch(message: str = "") -> AwsError:
    message = message or (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )
    return AwsError("InvalidSignatureException", message, status=403, query_code="SignatureDoesNotMatch")


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignatureException", message, status=403, query_code="IncompleteSignature")

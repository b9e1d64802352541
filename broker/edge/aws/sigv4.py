"""Signature version 4, verified: in a header, in a presigned URL, and chunk by chunk of a streamed body.

Pure: the request, the secret and the time are handed in; whose secret it is, somebody else knows. A captured request
can be sent again while its signature holds, as with AWS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_to_bytes

import msgspec

from broker.base.instants import MINUTE, SECOND, Millis, WallMillis
from broker.edge.aws.chunks import CONTENT_HASH, STREAMING
from broker.edge.aws.contract import AwsError
from broker.edge.aws.request import Chunk, Credential, Credentials, Request
from broker.edge.aws.signing_keys import SigningKey

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = Millis(15 * MINUTE)
MAX_EXPIRY = 604_800
"""Seconds that a presigned URL may hold: seven days."""
UNSIGNED = b"UNSIGNED-PAYLOAD"
TARGET = b"x-amz-target"
"""Says what is to be done, so that a signature without it would hold for anything."""
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_SPACES = re.compile(rb" +")


class Signature(msgspec.Struct, frozen=True):
    """``signed_headers``: names in lower case. ``stamp``: when it was made, as YYYYMMDDTHHMMSSZ. ``expires``: seconds
    that a presigned URL holds from then; None: it is in a header."""

    credential: Credential
    signed_headers: tuple[bytes, ...]
    signature: bytes
    stamp: str
    token: str = ""
    expires: int | None = None


def is_signed(request: Request, fields: Mapping[str, str]) -> bool:
    """Whether it has credentials of any kind, good or bad. ``fields``: of the URL."""
    return b"authorization" in request.headers or any(f"X-Amz-{name}" in fields for name in ("Signature", "Credential"))


def read(request: Request, fields: Mapping[str, str]) -> Signature:
    """``fields``: of the URL. Raises AwsError when there is no signature, or not a whole one."""
    if not is_signed(request, fields):
        raise missing()
    header = request.header(b"authorization")
    signature = _from_header(request, header) if b"authorization" in request.headers else _from_url(fields)
    for name, called in ((b"host", "'Host' or ':authority'"), (TARGET, "'X-Amz-Target'")):
        if name not in signature.signed_headers and (name in request.headers or name == b"host"):
            raise mismatch(f"{called} must be a 'SignedHeader' in the AWS Authorization.")
    return signature


def verify(request: Request, signature: Signature, key: SigningKey, now: WallMillis) -> None:
    """``key``: derived for the signature's scope. Raises AwsError."""
    _check_time(signature, now)
    payload_hash = _payload_hash(request, signature)
    canonical = canonical_request(request, signature, payload_hash)
    if not hmac.compare_digest(sign(key, signature.stamp, signature.credential.scope, canonical), signature.signature):
        raise mismatch()
    if payload_hash == STREAMING:
        _verify_chunks(request.chunks, key, signature)
    elif payload_hash != UNSIGNED and hashlib.sha256(request.body).hexdigest().encode() != payload_hash:
        raise mismatch()  # the header was signed, and says something else than the body


def sign(key: SigningKey, stamp: str, scope: str, canonical: bytes) -> bytes:
    """In hexadecimal digits."""
    return key.sign(f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}".encode())


def canonical_request(request: Request, signature: Signature, payload_hash: bytes) -> bytes:
    names = signature.signed_headers
    lines = [
        request.method.encode("latin-1"),
        _canonical_path(request.path, signature.credential.service).encode(),
        _canonical_query(request.query, presigned=signature.expires is not None).encode(),
        *(name + b":" + _trimmed(request.headers.get(name, b"")) for name in names),
    ]
    return b"\n".join((*lines, b"", b";".join(names), payload_hash))


def is_stamp(text: str) -> bool:
    """In the form of YYYYMMDDTHHMMSSZ."""
    return _STAMP.fullmatch(text) is not None


def instant(stamp: str) -> WallMillis:
    """Raises AwsError."""
    try:
        date = (int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]))
        time = (int(stamp[9:11]), int(stamp[11:13]), int(stamp[13:15]))
        return WallMillis(int(datetime(*date, *time, tzinfo=UTC).timestamp()) * SECOND)
    except ValueError:
        raise _incomplete(f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.") from None


def missing() -> AwsError:
    message = "Request is missing Authentication Token"
    return AwsError("MissingAuthenticationTokenException", message, 403, query_code="MissingAuthenticationToken")


def unknown_key() -> AwsError:
    """Nobody has the access key, or it has been disabled, or the session token is of nobody."""
    message = "The security token included in the request is invalid."
    return AwsError("UnrecognizedClientException", message, 403, query_code="InvalidClientTokenId")


def mismatch(message: str = "") -> AwsError:
    message = message or (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )
    return AwsError("InvalidSignatureException", message, 403, query_code="SignatureDoesNotMatch")


# --- reading


def _from_header(request: Request, header: str) -> Signature:
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM and algorithm.startswith("AWS"):
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm[:100]}'.")
    parts = dict(_PART.findall(rest)) if algorithm == ALGORITHM else {}
    stamp = _stamp_of(request)
    wrong = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parts
    ]
    if not stamp:
        wrong.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if wrong:
        hashed = base64.b64encode(hashlib.sha256(header.encode("latin-1")).digest()).decode()
        raise _incomplete(f"{' '.join(wrong)} (Hashed with SHA-256 and encoded with Base64) Authorization={hashed}")
    return Signature(
        _credential(parts["Credential"]),
        _names(parts["SignedHeaders"]),
        parts["Signature"].encode("latin-1"),
        stamp,
        request.header(b"x-amz-security-token"),
    )


def _from_url(fields: Mapping[str, str]) -> Signature:
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    absent = [name for name in names if f"X-Amz-{name}" not in fields]
    if absent:
        raise _incomplete(" ".join(f"AWS query-string parameters must include 'X-Amz-{name}'." for name in absent))
    algorithm, stamp, expires = (fields[f"X-Amz-{name}"] for name in ("Algorithm", "Date", "Expires"))
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm[:100]}'.")
    if not is_stamp(stamp):
        raise _incomplete("Date must be in ISO-8601 'basic format'.")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 8 and int(expires) <= MAX_EXPIRY):
        raise _incomplete(f"X-Amz-Expires must be a number of seconds up to {MAX_EXPIRY}.")
    return Signature(
        _credential(fields["X-Amz-Credential"]),
        _names(fields["X-Amz-SignedHeaders"]),
        fields["X-Amz-Signature"].encode(),
        stamp,
        fields.get("X-Amz-Security-Token", ""),
        int(expires),
    )


def _stamp_of(request: Request) -> str:
    """From X-Amz-Date, or from Date in the form of HTTP or of ISO 8601; "" when neither says when."""
    stamp = request.header(b"x-amz-date")
    if stamp:
        return stamp if is_stamp(stamp) else ""
    date = request.header(b"date")
    if is_stamp(date):
        return date
    try:
        said = parsedate_to_datetime(date)
        return (said.astimezone(UTC) if said.tzinfo else said).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        return ""


def _names(text: str) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in text.lower().split(";"))


def _credential(text: str) -> Credential:
    found = Credentials.parse(text)
    if found is None:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got "
            f"'{text[:200]}'"
        )
    return found


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignatureException", message, query_code="IncompleteSignature")


# --- checking


def _check_time(signature: Signature, now: WallMillis) -> None:
    made = instant(signature.stamp)
    if signature.stamp[:8] != signature.credential.date:
        raise mismatch(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{signature.credential.date}' != '{signature.stamp[:8]}', from '{signature.stamp}'."
        )
    holds = SKEW if signature.expires is None else Millis(signature.expires * SECOND)
    if made + holds < now:
        raise mismatch(
            f"Signature expired: {signature.stamp} is now earlier than {_stamp(now - holds)} ({_stamp(now)} - "
            f"{holds // MINUTE} min.)"
        )
    if made > now + SKEW:
        raise mismatch(
            f"Signature not yet current: {signature.stamp} is still later than {_stamp(now + SKEW)} ({_stamp(now)} + "
            f"{SKEW // MINUTE} min.)"
        )


def _verify_chunks(chunks: tuple[Chunk, ...], key: SigningKey, signature: Signature) -> None:
    """Each chunk signs itself and the signature before it."""
    before = signature.signature
    for chunk in chunks:
        text = (
            f"{ALGORITHM}-PAYLOAD\n{signature.stamp}\n{signature.credential.scope}\n{before.decode()}\n{_EMPTY_HASH}\n"
            f"{hashlib.sha256(chunk.data).hexdigest()}"
        )
        before = chunk.signature
        if not hmac.compare_digest(key.sign(text.encode()), before):
            raise mismatch()


def _stamp(at: int) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y%m%dT%H%M%SZ")


def _payload_hash(request: Request, signature: Signature) -> bytes:
    said = request.headers.get(CONTENT_HASH)
    if said:
        return said
    if signature.expires is not None and signature.credential.service == "s3":
        return UNSIGNED
    return hashlib.sha256(request.body).hexdigest().encode()


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


def _trimmed(value: bytes) -> bytes:
    value = value.strip()
    return _SPACES.sub(b" ", value) if b"  " in value else value


def _encode(raw: bytes) -> str:
    return quote(unquote_to_bytes(raw.replace(b"+", b" ")), safe="~")

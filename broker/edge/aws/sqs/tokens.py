"""Where a listing goes on, as opaque text that tells damage and guesses from what was given out."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from zlib import crc32

from broker.base.limits import LIST_PAGE
from broker.edge.aws.sqs.errors import invalid_parameter

_CHECKSUM_SIZE = 4


def encode(last: str) -> str:
    raw = last.encode()
    return urlsafe_b64encode(crc32(raw).to_bytes(_CHECKSUM_SIZE, "big") + raw).decode()


def page_of(given: dict[str, Any]) -> tuple[str, int]:
    """The name after which to go on, "" for the first page, and how many at most. Raises AwsError."""
    size: int | None = given.get("MaxResults")
    if size is not None and not 1 <= size <= LIST_PAGE:
        raise invalid_parameter(
            f"Value {size} for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and "
            f"{LIST_PAGE}."
        )
    token: str | None = given.get("NextToken")
    if not token:
        return "", LIST_PAGE if size is None else size
    if size is None:
        raise invalid_parameter("MaxResults is a mandatory parameter when you provide a value for NextToken.")
    return _decode(token), size


def _decode(token: str) -> str:
    try:
        raw = urlsafe_b64decode(token)
        if crc32(raw[_CHECKSUM_SIZE:]).to_bytes(_CHECKSUM_SIZE, "big") == raw[:_CHECKSUM_SIZE]:
            return raw[_CHECKSUM_SIZE:].decode()
    except (binascii.Error, ValueError):
        pass
    raise invalid_parameter("Invalid or expired next token.")

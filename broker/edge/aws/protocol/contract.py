"""What a protocol is: it reads a request's members and writes an answer or an error. One codec per operation and
protocol, compiled once from the model. The codecs know no HTTP but the content type, and no operation's meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from broker.edge.aws.contract import AwsError


class Document(NamedTuple):
    """What is sent back: status, headers (names in lower case) and body, but for what every answer has."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Codec(NamedTuple):
    """``parse`` raises AwsError for what is not there or has the wrong type or form."""

    parse: Callable[[Any], dict[str, Any]]
    write: Callable[[dict[str, Any], str], bytes]
    """Of the output and the request id."""
    headers: tuple[tuple[bytes, bytes], ...]
    """Of an answer, whatever it says."""


def missing(member: str) -> AwsError:
    message = f"The request must contain the parameter {member}."
    return AwsError("MissingRequiredParameterException", message, query_code="MissingParameter")


def malformed(message: str, query: bool = False) -> AwsError:
    """The request cannot be read as what the model says."""
    return AwsError("MalformedInput" if query else "SerializationException", message)

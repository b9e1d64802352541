"""What a protocol is: it reads a request's members and writes an answer or an error. One codec per operation and
protocol, compiled once from the model. The codecs know no operation's meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from broker.edge.aws.contract import AwsError
from broker.edge.aws.request import Request


class Document(NamedTuple):
    """What is sent back: status, headers (names in lower case) and body, but for what every answer has."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Codec(NamedTuple):
    """``parse`` takes the request and the fields of its form and URL, and raises AwsError for what is not there or has
    the wrong type or form. ``write`` and ``error`` take the output or the failure, and the request id."""

    parse: Callable[[Request, dict[str, str]], dict[str, Any]]
    write: Callable[[dict[str, Any], str], Document]
    error: Callable[[AwsError, str], Document]


Missing = Callable[[str], AwsError]
"""What is said of a required member that was not sent."""


def missing(member: str) -> AwsError:
    """In services that speak, or once spoke, the query protocol."""
    message = f"The request must contain the parameter {member}."
    return AwsError("MissingRequiredParameterException", message, query_code="MissingParameter")


def null_member(member: str) -> AwsError:
    """In all others."""
    place = member[:1].lower() + member[1:]
    message = f"Value null at '{place}' failed to satisfy constraint: Member must not be null"
    return AwsError("ValidationException", f"1 validation error detected: {message}")


def malformed(message: str, query: bool = False) -> AwsError:
    """The request cannot be read as what the model says."""
    return AwsError("MalformedInput" if query else "SerializationException", message)


def too_deep() -> AwsError:
    return malformed("The request body is nested too deeply.")

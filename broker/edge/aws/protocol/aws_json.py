"""AWS JSON 1.0 and 1.1: the operation in a header, a JSON object in, a JSON object out.

msgspec reads and writes; what it cannot know (blobs are base64, instants numbers) comes from the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import OperationModel, ServiceModel, Shape
from broker.edge.aws.protocol import scalars, timestamps, trees
from broker.edge.aws.protocol.contract import Codec, Document, Missing, malformed, missing, null_member, too_deep
from broker.edge.aws.protocol.trees import Read, Write, unexpected
from broker.edge.aws.request import Request

QUERY_ERROR = b"x-amzn-query-error"

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
_PROTOCOL_ERRORS = {
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InternalFailure",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ServiceUnavailable",
    "UnknownOperationException",
    "UnrecognizedClientException",
}
"""Raised by what stands before every service, whose names AWS gives in a namespace of their own."""


def codec(operation: OperationModel, service: ServiceModel) -> Codec:
    read = reader(operation.input, missing_in(service))
    write_output = None if operation.output is None else writer(operation.output)
    headers = _headers(service)
    empty = operation.output is None

    def parse(request: Request, _fields: dict[str, str]) -> dict[str, Any]:
        members: dict[str, Any] = read(request.body or b"{}")
        return members

    def write(output: dict[str, Any], _request_id: str) -> Document:
        return Document(200, headers, b"" if empty or write_output is None else write_output(output))

    return Codec(parse, write, lambda failure, _request_id: error(failure, service))


def error(failure: AwsError, service: ServiceModel) -> Document:
    body = encode({"__type": f"{error_space(failure, service)}#{failure.code}", "message": failure.message})
    return Document(failure.status, (*_headers(service), *query_error(failure, service)), body)


def error_space(failure: AwsError, service: ServiceModel) -> str:
    return "com.amazon.coral.service" if failure.code in _PROTOCOL_ERRORS else f"com.amazonaws.{service.name}"


def query_error(failure: AwsError, service: ServiceModel) -> tuple[tuple[bytes, bytes], ...]:
    """The header with the error's code of old, in services that have one."""
    if not service.query_compatible:
        return ()
    fault = "Sender" if failure.sender_fault else "Receiver"
    return ((QUERY_ERROR, f"{failure.query_code};{fault}".encode("latin-1", "replace")),)


def missing_in(service: ServiceModel) -> Missing:
    return missing if service.query_compatible else null_member


def reader(shape: Shape, missing_member: Missing) -> Read:
    """Of a body. Raises AwsError."""
    read = trees.Readers(_scalar_reader, missing_member).of(shape)

    def read_body(body: bytes) -> Any:
        try:
            return read(_decode(body))
        except RecursionError:
            raise too_deep() from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise malformed("The request body is not valid JSON.") from None

    return read_body


def writer(shape: Shape) -> Callable[[Any], bytes]:
    change = trees.Writers(_scalar_writer).of(shape)
    if change is None:
        return encode
    return lambda value: encode(change(value))


def _scalar_reader(shape: Shape) -> Read:
    if shape.kind == "timestamp":
        return _timestamp_reader(timestamps.FROM_TEXT[shape.timestamp_format or "unixTimestamp"])
    if shape.kind in ("float", "double"):
        return _real
    return _blob if shape.kind == "blob" else trees.READ[shape.kind]


def _scalar_writer(shape: Shape) -> Write | None:
    """Blobs msgspec writes in base64 by itself."""
    if shape.kind == "timestamp":
        format_ = shape.timestamp_format
        return timestamps.number if format_ in ("", "unixTimestamp") else timestamps.TO_TEXT[format_]
    return scalars.said if shape.kind in ("float", "double") else None


def _timestamp_reader(from_text: Callable[[str], float]) -> Read:
    """A number is taken for seconds, whatever the format."""

    def read(value: Any) -> float:
        try:
            return from_text(value) if type(value) is str else timestamps.checked(trees.real(value))
        except ValueError:
            raise malformed(f"{str(value)[:100]} is not a valid timestamp") from None

    return read


def _real(value: Any) -> float:
    return scalars.NOT_FINITE[value] if type(value) is str and value in scalars.NOT_FINITE else trees.real(value)


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise unexpected(value, "Blob")
    try:
        return scalars.blob(value)
    except ValueError:
        raise malformed("A blob is not valid base64") from None


def _headers(service: ServiceModel) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"content-type", f"application/x-amz-json-{service.json_version or '1.0'}".encode()),)

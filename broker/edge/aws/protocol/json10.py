"""AWS JSON 1.0: the operation in a header, a JSON object in, a JSON object out.

A reader for each shape is compiled once from the model and then applied to what msgspec decoded. Members that the model
does not know are dropped, as AWS does, and so are nulls. Writing needs no model: msgspec writes blobs in base64.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import msgspec

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import OperationModel, Shape
from broker.edge.aws.protocol.contract import Codec, Document, malformed, missing

CONTENT_TYPE = b"application/x-amz-json-1.0"
QUERY_ERROR = b"x-amzn-query-error"

Read = Callable[[Any], Any]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_HEADERS = ((b"content-type", CONTENT_TYPE),)
_PROTOCOL_ERRORS = {"SerializationException", "UnknownOperationException", "InternalFailure", "ServiceUnavailable"}
"""Raised by what stands before every service, whose names AWS gives in a namespace of their own."""


def codec(operation: OperationModel) -> Codec:
    read = _Readers().of(operation.input)

    def parse(body: bytes) -> dict[str, Any]:
        try:
            raw = _decode(body) if body else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise malformed("The request body is not valid JSON.") from None
        members: dict[str, Any] = read(raw)
        return members

    def write(output: dict[str, Any], _request_id: str) -> bytes:
        return b"" if operation.output is None else _encode(output)

    return Codec(parse, write, _HEADERS)


def error(failure: AwsError, service: str, query_compatible: bool) -> Document:
    """``query_compatible``: the service once spoke the query protocol, and clients still go by its codes."""
    space = "com.amazon.coral.service" if failure.code in _PROTOCOL_ERRORS else f"com.amazonaws.{service}"
    body = _encode({"__type": f"{space}#{failure.code}", "message": failure.message})
    if not query_compatible:
        return Document(failure.status, _HEADERS, body)
    fault = "Sender" if failure.sender_fault else "Receiver"
    header = (QUERY_ERROR, f"{failure.query_code};{fault}".encode("latin-1", "replace"))
    return Document(failure.status, (*_HEADERS, header), body)


class _Readers:
    """A reader for each shape, once; a shape within itself is looked up when it is met."""

    def __init__(self) -> None:
        self._made: dict[str, Read] = {}

    def of(self, shape: Shape) -> Read:
        if shape.name in self._made:
            return self._made[shape.name]
        self._made[shape.name] = lambda value: self._made[shape.name](value)  # noqa: PLW0108  # looked up when called
        self._made[shape.name] = read = self._make(shape)
        return read

    def _make(self, shape: Shape) -> Read:
        if shape.kind == "structure":
            return self._structure(shape)
        if shape.kind == "list":
            return self._list(shape)
        return self._map(shape) if shape.kind == "map" else _SCALARS[shape.kind]

    def _structure(self, shape: Shape) -> Read:
        members = {name: self.of(member.shape) for name, member in shape.members.items()}
        known = members.get
        required = shape.required

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _unexpected(value, "Structure")
            found = {}
            for name, part in value.items():
                reader = known(name)
                if reader is not None and part is not None:
                    found[name] = reader(part)
            for name in required:
                if name not in found:
                    raise missing(name)
            return found

        return read

    def _list(self, shape: Shape) -> Read:
        assert shape.element is not None
        element = self.of(shape.element)

        def read(value: Any) -> list[Any]:
            if type(value) is not list:
                raise _unexpected(value, "List")
            return [element(part) for part in value if part is not None]

        return read

    def _map(self, shape: Shape) -> Read:
        assert shape.value is not None
        reader = self.of(shape.value)

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _unexpected(value, "Map")
            return {key: reader(part) for key, part in value.items() if part is not None}

        return read


def _string(value: Any) -> str:
    if type(value) is not str:
        raise _unexpected(value, "String")
    return value


def _integer(bits: int, name: str) -> Read:
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def read(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise _unexpected(value, name)
        if not least <= value <= most:
            raise malformed(f"{value} is out of range for {name}")
        return value

    return read


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _unexpected(value, "Boolean")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise _unexpected(value, "Double")
    return float(value)


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise _unexpected(value, "Blob")
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise malformed("A blob is not valid base64") from None


_SCALARS: dict[str, Read] = {
    "string": _string,
    "integer": _integer(32, "Integer"),
    "long": _integer(64, "Long"),
    "boolean": _boolean,
    "float": _number,
    "double": _number,
    "timestamp": _number,
    "blob": _blob,
}
_NAMES = {bool: "TRUE_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE", str: "STRING_VALUE"}


def _unexpected(value: Any, wanted: str) -> AwsError:
    if value is None:
        return malformed(f"NULL_VALUE cannot be converted to {wanted}")
    if type(value) is dict:
        return malformed("Start of structure or map found where not expected.")
    if type(value) is list:
        return malformed("Start of list found where not expected")
    return malformed(f"{'FALSE_VALUE' if value is False else _NAMES[type(value)]} cannot be converted to {wanted}")

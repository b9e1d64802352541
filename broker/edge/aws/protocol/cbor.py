"""CBOR, in the two forms that SDKs speak: in place of JSON 1.1 (``application/x-amz-cbor-1.1``, which the SDKs for Java
speak with Kinesis), and Smithy's RPC v2 CBOR, which has the operation in the path.

They differ in how instants are told: the older one in whole milliseconds, RPC v2 in seconds, as the tag means it.
Smithy's "RPC v2 CBOR protocol"; RFC 8949.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, get_args

import cbor2

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import OperationModel, ServiceModel, Shape
from broker.edge.aws.protocol import aws_json, timestamps, trees
from broker.edge.aws.protocol.contract import Codec, Document, malformed
from broker.edge.aws.protocol.trees import Read, Write, unexpected
from broker.edge.aws.request import Request

Dialect = Literal["x-amz-cbor", "rpc-v2-cbor"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
AMZ_CONTENT_TYPE = b"application/x-amz-cbor"
"""A version follows."""
PROTOCOL = b"smithy-protocol"
_HEADERS: dict[Dialect, tuple[tuple[bytes, bytes], ...]] = {
    "x-amz-cbor": ((b"content-type", AMZ_CONTENT_TYPE + b"-1.1"),),
    "rpc-v2-cbor": ((b"content-type", b"application/cbor"), (PROTOCOL, b"rpc-v2-cbor")),
}
DEPTH_LIMIT = 64
_EPOCH = 1
"""The tag of an instant."""
_UNWANTED_TAGS = (0, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
"""What cbor2 would make something of: dates, numbers without bounds, patterns, values within themselves. No protocol
has them."""


def codec(operation: OperationModel, service: ServiceModel, dialect: Dialect) -> Codec:
    read = trees.Readers(_SCALAR_READERS[dialect], aws_json.missing_in(service)).of(operation.input)
    change = None if operation.output is None else trees.Writers(_SCALAR_WRITERS[dialect]).of(operation.output)
    headers = _HEADERS[dialect]
    no_output = Document(200, headers[1:], b"")

    def parse(request: Request, _fields: dict[str, str]) -> dict[str, Any]:
        members: dict[str, Any] = read(_decode(request.body) if request.body else {})
        return members

    def write(output: dict[str, Any], _request_id: str) -> Document:
        if operation.output is None:
            return no_output
        return Document(200, headers, cbor2.dumps(output if change is None else change(output)))

    return Codec(parse, write, lambda failure, _request_id: error(failure, service, dialect))


def error(failure: AwsError, service: ServiceModel, dialect: Dialect) -> Document:
    space = aws_json.error_space(failure, service)
    body = cbor2.dumps({"__type": f"{space}#{failure.code}", "message": failure.message})
    return Document(failure.status, (*_HEADERS[dialect], *aws_json.query_error(failure, service)), body)


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a tag that no protocol has")


def _instant(value: Any, _immutable: bool) -> cbor2.CBORTag:
    """Left as it is: what the number means depends on the dialect."""
    return cbor2.CBORTag(_EPOCH, value)


_TAGS: dict[int, Callable[[Any, bool], Any]] = {**dict.fromkeys(_UNWANTED_TAGS, _refuse), _EPOCH: _instant}


def _decode(body: bytes) -> Any:
    """Lengths are only believed as far as there are bytes. Raises AwsError."""
    try:
        return cbor2.loads(
            body, semantic_decoders=_TAGS, tag_hook=_refuse, max_depth=DEPTH_LIMIT, strict_hashable_types=True
        )
    except (cbor2.CBORError, ValueError):
        raise malformed("The request body is not valid CBOR.") from None


def _blob(value: Any) -> bytes:
    if type(value) is not bytes:
        raise unexpected(value, "Blob")
    return value


def _timestamp_reader(per_second: int) -> Read:
    def read(value: Any) -> float:
        number = value.value if type(value) is cbor2.CBORTag else value
        try:
            return timestamps.checked(trees.real(number) / per_second)
        except ValueError:
            raise malformed(f"{str(number)[:100]} is not a valid timestamp") from None

    return read


def _scalar_reader(per_second: int) -> Callable[[Shape], Read]:
    own = {"blob": _blob, "timestamp": _timestamp_reader(per_second)}
    return lambda shape: own.get(shape.kind) or trees.READ[shape.kind]


def _scalar_writer(tell: Callable[[float], int | float]) -> Callable[[Shape], Write | None]:
    def write(value: float) -> cbor2.CBORTag:
        return cbor2.CBORTag(_EPOCH, tell(value))

    return lambda shape: write if shape.kind == "timestamp" else None


_SCALAR_READERS: dict[Dialect, Callable[[Shape], Read]] = {
    "x-amz-cbor": _scalar_reader(1_000),
    "rpc-v2-cbor": _scalar_reader(1),
}
_SCALAR_WRITERS: dict[Dialect, Callable[[Shape], Write | None]] = {
    "x-amz-cbor": _scalar_writer(lambda value: round(value * 1_000)),
    "rpc-v2-cbor": _scalar_writer(float),
}

"""REST with JSON: the operation in method and path; members in the path, the URL's query, headers, and the body.

AWS's "restJson1" protocol, with the HTTP bindings that the models give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import Member, OperationModel, ServiceModel, Shape
from broker.edge.aws.protocol import aws_json, form, scalars
from broker.edge.aws.protocol.contract import Codec, Document, Missing, malformed
from broker.edge.aws.protocol.uris import Template, template
from broker.edge.aws.request import Request

ERROR_TYPE = b"x-amzn-errortype"
_JSON = (b"content-type", b"application/json")
_NO_CONTENT = 204
_RAW = ("blob", "string")
_ELEMENTS = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,]*))\s*(?:,|$)')
"""Of a list in a header: with quotes around what has a comma in it."""
_UNSAYABLE = dict.fromkeys([*range(32), 127], " ")
"""A header ends with its line."""


class _Sent(NamedTuple):
    """A request, taken apart. ``query``: all values of each name."""

    labels: dict[str, str]
    query: dict[str, list[str]]
    headers: dict[bytes, bytes]
    body: bytes


Find = Callable[[_Sent], Any]
"""A member's value, None if it was not sent. Raises ValueError, besides AwsError."""


def codec(operation: OperationModel, service: ServiceModel) -> Codec:
    address = template(operation)
    parse = _parser(operation.input, address, aws_json.missing_in(service))
    write = _writer(operation.output, operation.status)
    return Codec(parse, write, lambda failure, _request_id: error(failure))


def error(failure: AwsError) -> Document:
    headers = (_JSON, (ERROR_TYPE, failure.code.encode("latin-1", "replace")))
    return Document(failure.status, headers, aws_json.encode({"message": failure.message}))


# Reading


def _parser(shape: Shape, address: Template, missing: Missing) -> Callable[[Request, dict[str, str]], dict[str, Any]]:
    bound = {member.wire_name for member in shape.members.values() if member.place == "querystring"}
    taken = bound | {name for name, _ in address.fixed}
    finders = [(name, _finder(member, taken)) for name, member in shape.members.items() if member.place]
    find_body = _body_finder(shape, missing)

    def parse(request: Request, _fields: dict[str, str]) -> dict[str, Any]:
        query: dict[str, list[str]] = {}
        for name, value in form.pairs(request.query):
            query.setdefault(name, []).append(value)
        sent = _Sent(address.labels(request.path) or {}, query, request.headers, request.body)
        found: dict[str, Any] = find_body(sent)
        for name, find in finders:
            try:
                value = find(sent)
            except ValueError:
                raise malformed(f"The value of {name} has not the form that it should have.") from None
            if value is not None:
                found[name] = value
        for name in shape.required:
            if name not in found:
                raise missing(name)
        return found

    return parse


def _finder(member: Member, taken: set[str]) -> Find:
    if member.place == "uri":
        read_label = scalars.from_text(member.shape)
        return lambda sent: read_label(sent.labels[member.wire_name])
    if member.place == "querystring":
        return _query_finder(member, taken)
    if member.place == "headers":
        prefix = member.wire_name.lower().encode()
        return lambda sent: _headers_like(sent.headers, prefix)
    return _header_finder(member)


def _query_finder(member: Member, taken: set[str]) -> Find:
    """A map has all that nothing else is named for."""
    shape, name = member.shape, member.wire_name
    if shape.kind == "map":
        several = shape.value is not None and shape.value.kind == "list"
        return lambda sent: (
            {each: found if several else found[0] for each, found in sent.query.items() if each not in taken} or None
        )
    if shape.kind == "list":
        assert shape.element is not None
        read = scalars.from_text(shape.element)
        return lambda sent: [read(each) for each in sent.query[name]] if name in sent.query else None
    read = scalars.from_text(shape)
    return lambda sent: read(sent.query[name][0]) if name in sent.query else None


def _header_finder(member: Member) -> Find:
    shape, name = member.shape, member.wire_name.lower().encode()
    if shape.kind == "list":
        assert shape.element is not None
        read_element = scalars.from_text(shape.element, "rfc822")
        return lambda sent: _listed(sent.headers[name], read_element) if name in sent.headers else None
    read = scalars.from_text(shape, "rfc822")
    return lambda sent: read(_text(sent.headers[name])) if name in sent.headers else None


def _headers_like(headers: dict[bytes, bytes], prefix: bytes) -> dict[str, str] | None:
    start = len(prefix)
    return {_text(name[start:]): _text(each) for name, each in headers.items() if name.startswith(prefix)} or None


def _listed(header: bytes, read: Callable[[str], Any]) -> list[Any]:
    found = []
    for quoted, plain in _ELEMENTS.findall(_text(header)):
        text = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain.strip()
        if text:
            found.append(read(text))
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _body_finder(shape: Shape, missing: Missing) -> Callable[[_Sent], dict[str, Any]]:
    """A dict of what the body holds: the payload, or all members without another place."""
    if not shape.payload:
        read = aws_json.reader(_unplaced(shape), missing)
        return lambda sent: read(sent.body or b"{}")
    name, inner = shape.payload, shape.members[shape.payload].shape
    if inner.kind in _RAW:
        read_raw = bytes if inner.kind == "blob" else _utf8
        needed = name in shape.required
        return lambda sent: {name: read_raw(sent.body)} if sent.body or needed else {}
    read = aws_json.reader(inner, missing)
    return lambda sent: {name: read(sent.body)} if sent.body else {}


def _unplaced(shape: Shape) -> Shape:
    members = {name: member for name, member in shape.members.items() if not member.place}
    required = tuple(name for name in shape.required if name in members)
    return msgspec.structs.replace(shape, name=f"{shape.name} in the body", members=members, required=required)


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise malformed("The request body is not valid UTF-8.") from None


# Writing


def _writer(shape: Shape | None, status: int) -> Callable[[dict[str, Any], str], Document]:
    if shape is None:
        return lambda _output, _request_id: Document(status, (), b"")
    placed = [member for member in shape.members.values() if member.place]
    names = {member.name for member in placed}
    status_member = next((member.name for member in placed if member.place == "statusCode"), "")
    headers = [(member, _header_writer(member)) for member in placed if member.place in ("header", "headers")]
    write_body, content_type = _body_writer(shape)

    def write(output: dict[str, Any], _request_id: str) -> Document:
        said = [
            line
            for member, lines in headers
            if output.get(member.name) is not None
            for line in lines(output[member.name])
        ]
        code = output.get(status_member) or status
        if code == _NO_CONTENT:
            return Document(code, tuple(said), b"")
        body = write_body({name: value for name, value in output.items() if name not in names})
        return Document(code, (*content_type, *said) if body else tuple(said), body)

    return write


def _body_writer(shape: Shape) -> tuple[Callable[[dict[str, Any]], bytes], tuple[tuple[bytes, bytes], ...]]:
    if not shape.payload:
        return aws_json.writer(_unplaced(shape)), (_JSON,)
    name, inner = shape.payload, shape.members[shape.payload].shape
    if inner.kind in _RAW:
        return lambda output: _raw(output.get(name)), ()
    write = aws_json.writer(inner)
    return lambda output: b"" if output.get(name) is None else write(output[name]), (_JSON,)


def _raw(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _header_writer(member: Member) -> Callable[[Any], Iterable[tuple[bytes, bytes]]]:
    name = member.wire_name.lower()
    if member.place == "headers":
        return lambda value: [_header(name + each.lower(), text) for each, text in value.items()]
    if member.shape.kind == "list":
        assert member.shape.element is not None
        write_element = scalars.to_text(member.shape.element, "rfc822")
        return lambda value: [_header(name, ",".join(_quoted(write_element(each)) for each in value))]
    write = scalars.to_text(member.shape, "rfc822")
    return lambda value: [_header(name, write(value))]


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("latin-1", "replace"), value.translate(_UNSAYABLE).encode()


def _quoted(text: str) -> str:
    if "," not in text and '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

"""The query protocol: form fields in, with dotted names for what is inside something, XML out.

Reader and writer of each shape stand side by side and are compiled once from the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import Member, OperationModel, ServiceModel, Shape
from broker.edge.aws.protocol import scalars
from broker.edge.aws.protocol.contract import Codec, Document, malformed, missing
from broker.edge.aws.protocol.form import Fields, Node, grow
from broker.edge.aws.request import Request

CONTENT_TYPE = b"text/xml"
_HEADERS = ((b"content-type", CONTENT_TYPE),)
_DECLARATION = '<?xml version="1.0"?>'
_UNSAYABLE = [chr(code) for code in range(32) if chr(code) not in "\t\n\r"] + ["\ufffe", "\uffff"]
"""XML has no way to write these: clients of other protocols may have sent them."""
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;", **dict.fromkeys(_UNSAYABLE, "\ufffd")})

Read = Callable[[Node], Any]
Write = Callable[[Any, str, list[str]], None]
"""Appends the value in an element of the given name."""


def codec(operation: OperationModel, service: ServiceModel) -> Codec:
    read = _reader(operation.input, {})
    name, namespace = operation.name, service.namespace
    head = f'{_DECLARATION}<{name}Response xmlns="{namespace}">'
    tail = f"</RequestId></ResponseMetadata></{name}Response>"
    write_output = None if operation.output is None else _writer(operation.output, {})

    def parse(_request: Request, fields: Fields) -> dict[str, Any]:
        members: dict[str, Any] = read(grow(fields))
        return members

    def write(output: dict[str, Any], request_id: str) -> Document:
        parts = [head]
        if write_output is not None:
            write_output(output, operation.result_wrapper, parts)
        parts += ("<ResponseMetadata><RequestId>", request_id, tail)
        return Document(200, _HEADERS, "".join(parts).encode())

    return Codec(parse, write, lambda failure, request_id: error(failure, namespace, request_id))


def error(failure: AwsError, namespace: str, request_id: str) -> Document:
    parts = [_DECLARATION, f'<ErrorResponse xmlns="{namespace}"><Error>']
    _write_text("Sender" if failure.sender_fault else "Receiver", "Type", parts)
    _write_text(failure.query_code, "Code", parts)
    _write_text(failure.message, "Message", parts)
    parts += ("<Detail/></Error><RequestId>", request_id, "</RequestId></ErrorResponse>")
    return Document(failure.status, _HEADERS, "".join(parts).encode("utf-8", "replace"))


# Reading

_NONE_SENT: dict[str, Callable[[], Any]] = {"list": list, "map": dict}
"""A list or a map without content cannot be told from one that was not sent."""


def _reader(shape: Shape, made: dict[str, Read]) -> Read:
    """``made``: the readers so far; a shape within itself is looked up when it is met."""
    if shape.name not in made:
        made[shape.name] = lambda node: made[shape.name](node)  # noqa: PLW0108  # looked up when called
        if shape.kind == "structure":
            made[shape.name] = _structure_reader(shape, made)
        elif shape.kind in ("list", "map"):
            made[shape.name] = _numbered_reader(shape, shape.flattened, made)
        else:
            made[shape.name] = _scalar_reader(shape)
    return made[shape.name]


def _structure_reader(shape: Shape, made: dict[str, Read]) -> Read:
    readers = [(name, _field_name(member), _member_reader(member, made)) for name, member in shape.members.items()]
    required = [(name, _NONE_SENT.get(shape.members[name].shape.kind)) for name in shape.required]

    def read(node: Node) -> dict[str, Any]:
        parts = node.parts
        found = {name: reader(parts[field]) for name, field, reader in readers if field in parts}
        for name, none_sent in required:
            if name not in found:
                if none_sent is None:
                    raise missing(name)
                found[name] = none_sent()
        return found

    return read


def _member_reader(member: Member, made: dict[str, Read]) -> Read:
    shape = member.shape
    if shape.kind in ("list", "map") and member.flattened != shape.flattened:
        return _numbered_reader(shape, member.flattened, made)
    return _reader(shape, made)


def _field_name(member: Member) -> str:
    """A flattened list is named for its elements, if these have a name."""
    named = member.flattened and member.shape.kind == "list" and member.shape.element_name
    return member.shape.element_name if named else member.query_name


def _numbered_reader(shape: Shape, flattened: bool, made: dict[str, Read]) -> Read:
    """Of a list or a map: what it holds is numbered from 1, behind one more name unless it is flattened."""
    if shape.kind == "list":
        assert shape.element is not None
        inner, between, is_map = _reader(shape.element, made), shape.element_name or "member", False
    else:
        inner, between, is_map = _entry_reader(shape, made), "entry", True

    def read(node: Node) -> Any:
        if not flattened:
            node = node.parts.get(between) or Node()
        found = [inner(part) for part in node.numbered()]
        return dict(found) if is_map else found

    return read


def _entry_reader(shape: Shape, made: dict[str, Read]) -> Read:
    assert shape.key is not None and shape.value is not None  # noqa: PT018  # it is a map
    read_key, read_value = _reader(shape.key, made), _reader(shape.value, made)
    key_name, value_name = shape.key_name, shape.value_name

    def read(node: Node) -> tuple[Any, Any]:
        for name in (key_name, value_name):
            if name not in node.parts:
                raise missing(name)
        return read_key(node.parts[key_name]), read_value(node.parts[value_name])

    return read


def _scalar_reader(shape: Shape) -> Read:
    convert = scalars.from_text(shape)

    def read(node: Node) -> Any:
        text = node.text or ""
        try:
            return convert(text)
        except ValueError:
            raise malformed(f"{text[:100]!r} is not a valid {shape.kind}", query=True) from None

    return read


# Writing


def _writer(shape: Shape, made: dict[str, Write]) -> Write:
    if shape.name not in made:
        made[shape.name] = lambda value, tag, parts: made[shape.name](value, tag, parts)  # noqa: PLW0108  # as above
        if shape.kind == "structure":
            made[shape.name] = _structure_writer(shape, made)
        elif shape.kind in ("list", "map"):
            made[shape.name] = _numbered_writer(shape, shape.flattened, made)
        else:
            made[shape.name] = _scalar_writer(shape)
    return made[shape.name]


def _structure_writer(shape: Shape, made: dict[str, Write]) -> Write:
    writers = {}
    for name, member in shape.members.items():
        if member.shape.kind in ("list", "map") and member.flattened != member.shape.flattened:
            writers[name] = (_field_name(member), _numbered_writer(member.shape, member.flattened, made))
        else:
            writers[name] = (_field_name(member), _writer(member.shape, made))

    def write(value: dict[str, Any], tag: str, parts: list[str]) -> None:
        parts.append(f"<{tag}>")
        for name, part in value.items():
            if part is not None:
                inner, writer = writers[name]
                writer(part, inner, parts)
        parts.append(f"</{tag}>")

    return write


def _numbered_writer(shape: Shape, flattened: bool, made: dict[str, Write]) -> Write:
    if shape.kind == "list":
        assert shape.element is not None
        inner, between, is_map = _writer(shape.element, made), shape.element_name or "member", False
    else:
        inner, between, is_map = _entry_writer(shape, made), "entry", True

    def write(value: Any, tag: str, parts: list[str]) -> None:
        element = tag if flattened else between
        if not flattened:
            parts.append(f"<{tag}>")
        for part in value.items() if is_map else value:
            inner(part, element, parts)
        if not flattened:
            parts.append(f"</{tag}>")

    return write


def _entry_writer(shape: Shape, made: dict[str, Write]) -> Write:
    assert shape.key is not None and shape.value is not None  # noqa: PT018  # it is a map
    write_key, write_value = _writer(shape.key, made), _writer(shape.value, made)
    key_name, value_name = shape.key_name, shape.value_name

    def write(entry: tuple[Any, Any], tag: str, parts: list[str]) -> None:
        parts.append(f"<{tag}>")
        write_key(entry[0], key_name, parts)
        write_value(entry[1], value_name, parts)
        parts.append(f"</{tag}>")

    return write


def _scalar_writer(shape: Shape) -> Write:
    convert = scalars.to_text(shape)
    if shape.kind == "string":
        return _write_text

    def write(value: Any, tag: str, parts: list[str]) -> None:
        parts.append(f"<{tag}>{convert(value)}</{tag}>")

    return write


def _write_text(value: str, tag: str, parts: list[str]) -> None:
    parts.append(f"<{tag}>{value.translate(_ESCAPES)}</{tag}>")

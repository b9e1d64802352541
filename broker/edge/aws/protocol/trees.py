"""Trees of dicts and lists, as JSON and CBOR have them, to the members of a shape and back.

A reader and a writer for each shape are compiled once from the model. Members that the model does not know are dropped,
as AWS does, and so are nulls. What a scalar looks like the protocol says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import Shape
from broker.edge.aws.protocol.contract import Missing, malformed
from broker.edge.aws.protocol.scalars import BITS

Read = Callable[[Any], Any]
Write = Callable[[Any], Any]


class Readers:
    """A reader for each shape, once; a shape within itself is looked up when it is met. They raise AwsError."""

    def __init__(self, scalar: Callable[[Shape], Read], missing: Missing) -> None:
        self._scalar = scalar
        self._missing = missing
        self._made: dict[str, Read] = {}

    def of(self, shape: Shape) -> Read:
        if shape.name in self._made:
            return self._made[shape.name]
        self._made[shape.name] = lambda value: self._made[shape.name](value)  # noqa: PLW0108  # looked up when called
        self._made[shape.name] = read = self._make(shape)
        return read

    def _make(self, shape: Shape) -> Read:
        if shape.document:
            return lambda value: value
        if shape.kind == "structure":
            return self._structure(shape)
        if shape.kind == "list":
            return self._list(shape)
        return self._map(shape) if shape.kind == "map" else self._scalar(shape)

    def _structure(self, shape: Shape) -> Read:
        members = {member.wire_name: (name, self.of(member.shape)) for name, member in shape.members.items()}
        known = members.get
        required, missing = shape.required, self._missing

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise unexpected(value, "Structure")
            found = {}
            for wire_name, part in value.items():
                member = known(wire_name)
                if member is not None and part is not None:
                    found[member[0]] = member[1](part)
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
                raise unexpected(value, "List")
            return [element(part) for part in value if part is not None]

        return read

    def _map(self, shape: Shape) -> Read:
        assert shape.value is not None
        reader = self.of(shape.value)

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise unexpected(value, "Map")
            return {key: reader(part) for key, part in value.items() if part is not None}

        return read


class Writers:
    """None for a shape whose members are written as they are. ``scalar`` gives None likewise."""

    def __init__(self, scalar: Callable[[Shape], Write | None]) -> None:
        self._scalar = scalar
        self._made: dict[str, Write] = {}

    def of(self, shape: Shape) -> Write | None:
        if not self._changes(shape, set()):
            return None
        if shape.name in self._made:
            return self._made[shape.name]
        self._made[shape.name] = lambda value: self._made[shape.name](value)  # noqa: PLW0108  # looked up when called
        self._made[shape.name] = write = self._make(shape)
        return write

    def _changes(self, shape: Shape, seen: set[str]) -> bool:
        if shape.document or shape.name in seen:
            return False
        seen.add(shape.name)
        if shape.kind in ("list", "map"):
            inner = shape.element or shape.value
            return inner is not None and self._changes(inner, seen)
        if shape.kind != "structure":
            return self._scalar(shape) is not None
        members = shape.members.values()
        return any(member.wire_name != member.name or self._changes(member.shape, seen) for member in members)

    def _make(self, shape: Shape) -> Write:
        if shape.kind == "structure":
            members = {name: (each.wire_name, self.of(each.shape) or _same) for name, each in shape.members.items()}
            return lambda value: {
                members[name][0]: members[name][1](part) for name, part in value.items() if part is not None
            }
        if shape.kind in ("list", "map"):
            inner = shape.element or shape.value
            assert inner is not None
            write = self.of(inner) or _same
            if shape.kind == "list":
                return lambda value: [write(part) for part in value]
            return lambda value: {key: write(part) for key, part in value.items()}
        return self._scalar(shape) or _same


def string(value: Any) -> str:
    if type(value) is not str:
        raise unexpected(value, "String")
    return value


def boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise unexpected(value, "Boolean")
    return value


def integer(kind: str) -> Read:
    name, bits = kind.capitalize(), BITS[kind]
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def read(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise unexpected(value, name)
        if not least <= value <= most:
            text = str(value) if value.bit_length() < 200 else "A number"
            raise malformed(f"{text} is out of range for {name}")
        return value

    return read


def real(value: Any) -> float:
    if type(value) not in (int, float):
        raise unexpected(value, "Double")
    try:
        return float(value)
    except OverflowError:
        raise malformed("A number is out of range for Double") from None


READ: dict[str, Read] = {
    "string": string,
    "boolean": boolean,
    "integer": integer("integer"),
    "long": integer("long"),
    "float": real,
    "double": real,
}
"""Scalars that JSON and CBOR have of their own."""
_NAMES = {int: "NUMBER_VALUE", float: "DECIMAL_VALUE", str: "STRING_VALUE", bytes: "BINARY_VALUE"}


def unexpected(value: Any, wanted: str) -> AwsError:
    if value is None:
        return malformed(f"NULL_VALUE cannot be converted to {wanted}")
    if type(value) is dict:
        return malformed("Start of structure or map found where not expected.")
    if type(value) is list:
        return malformed("Start of list found where not expected")
    if type(value) is bool:
        return malformed(f"{'TRUE' if value else 'FALSE'}_VALUE cannot be converted to {wanted}")
    return malformed(f"{_NAMES.get(type(value), 'UNKNOWN_VALUE')} cannot be converted to {wanted}")


def _same(value: Any) -> Any:
    return value

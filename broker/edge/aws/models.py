"""The service models that botocore comes with: which operations there are, what they take and what they give.

Only botocore's data files are read. Its code is not imported: it brings an HTTP client along, takes half a second and
30 MiB, and all that is needed here is shapes to compile codecs from.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal, get_args

import msgspec

Kind = Literal[
    "structure", "list", "map", "string", "integer", "long", "boolean", "blob", "timestamp", "float", "double"
]
_KINDS: tuple[str, ...] = get_args(Kind)
Place = Literal["", "uri", "querystring", "header", "headers", "statusCode"]
"""``headers``: all whose names begin alike, as a map."""


class QueryNames(msgspec.Struct, frozen=True):
    """What the query protocol calls things, where the model does not say (any more): members by their name, the
    elements of lists and the keys and values of maps by the name of the list's or map's shape."""

    namespace: str = ""
    members: Mapping[str, str] = {}
    elements: Mapping[str, str] = {}
    entries: Mapping[str, tuple[str, str]] = {}


class Shape(msgspec.Struct):
    """``members``: of a structure; ``element``: of a list; ``key`` and ``value``: of a map. Shapes may contain
    themselves. The ``..._name`` are those of the query protocol, "" where its own rules decide. ``payload``: the member
    that is the body in REST, "" if the body holds what has no other place. ``document``: any JSON at all."""

    name: str
    kind: Kind
    members: dict[str, Member] = {}
    required: tuple[str, ...] = ()
    element: Shape | None = None
    key: Shape | None = None
    value: Shape | None = None
    flattened: bool = False
    element_name: str = ""
    key_name: str = "key"
    value_name: str = "value"
    timestamp_format: str = ""
    payload: str = ""
    document: bool = False


class Member(msgspec.Struct, frozen=True):
    """``query_name``: what the query protocol calls it; ``wire_name``: what all others do. ``place``: where REST has
    it, "" in the body."""

    name: str
    shape: Shape
    query_name: str
    wire_name: str
    flattened: bool
    place: Place


class OperationModel(msgspec.Struct, frozen=True):
    """``output`` None: it answers nothing. ``result_wrapper``: the element around the output in XML. ``method``,
    ``uri`` and ``status``: in REST."""

    name: str
    input: Shape
    output: Shape | None
    result_wrapper: str
    method: str = "POST"
    uri: str = "/"
    status: int = 200


class ServiceModel(msgspec.Struct, frozen=True):
    """``signing_name``: in a credential scope. ``target_prefix``: in X-Amz-Target; "" if the service has no JSON.
    ``namespace``: of its XML; "" if it does not speak the query protocol. ``query_compatible``: it speaks others by
    now, and clients still go by the codes of the query protocol. ``rest``: its operations have paths of their own."""

    name: str
    signing_name: str
    version: str
    target_prefix: str
    json_version: str
    namespace: str
    query_compatible: bool
    rest: bool
    operations: dict[str, OperationModel]


def load(service: str, names: QueryNames | None = None) -> ServiceModel:
    """The newest version of the model. Raises LookupError when botocore has none of that name."""
    folder = files("botocore") / "data" / service
    if not folder.is_dir():
        raise LookupError(f"botocore has no model of {service!r}")
    newest = max((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.name)
    return build(service, _read(newest), names or QueryNames())


def build(service: str, raw: Mapping[str, Any], names: QueryNames) -> ServiceModel:
    metadata = raw["metadata"]
    shapes = _Shapes(raw["shapes"], names)
    empty = Shape("Nothing", "structure")
    operations = {}
    for name, operation in raw["operations"].items():
        output = operation.get("output")
        operations[name] = OperationModel(
            name=name,
            input=shapes.get(operation["input"]["shape"]) if "input" in operation else empty,
            output=None if output is None else shapes.get(output["shape"]),
            result_wrapper=(output or {}).get("resultWrapper", f"{name}Result"),
            method=operation["http"]["method"],
            uri=operation["http"]["requestUri"],
            status=operation["http"].get("responseCode", 200),
        )
    return ServiceModel(
        name=service,
        signing_name=metadata.get("signingName", metadata["endpointPrefix"]),
        version=metadata["apiVersion"],
        target_prefix=metadata.get("targetPrefix", ""),
        json_version=metadata.get("jsonVersion", ""),
        namespace=metadata.get("xmlNamespace", names.namespace),
        query_compatible="awsQueryCompatible" in metadata,
        rest=metadata["protocol"] == "rest-json",
        operations=operations,
    )


class _Shapes:
    """Each shape once, by name; known before its parts are, as they may refer to it."""

    def __init__(self, raw: Mapping[str, Any], names: QueryNames) -> None:
        self._raw = raw
        self._names = names
        self._made: dict[str, Shape] = {}

    def get(self, name: str) -> Shape:
        if name in self._made:
            return self._made[name]
        raw = self._raw[name]
        kind: Any = raw["type"] if raw["type"] in _KINDS else "string"
        shape = self._made[name] = Shape(
            name,
            kind,
            flattened=raw.get("flattened", False),
            timestamp_format=raw.get("timestampFormat", ""),
            payload=raw.get("payload", ""),
            document=raw.get("document", False),
        )
        if kind == "structure":
            shape.required = tuple(raw.get("required", ()))
            shape.members = {each: self._member(each, reference) for each, reference in raw["members"].items()}
        elif kind == "list":
            shape.element = self.get(raw["member"]["shape"])
            shape.element_name = raw["member"].get("locationName", self._names.elements.get(name, ""))
        elif kind == "map":
            key_name, value_name = self._names.entries.get(name, ("key", "value"))
            shape.key, shape.value = self.get(raw["key"]["shape"]), self.get(raw["value"]["shape"])
            shape.key_name = raw["key"].get("locationName", key_name)
            shape.value_name = raw["value"].get("locationName", value_name)
        return shape

    def _member(self, name: str, reference: Mapping[str, Any]) -> Member:
        shape = self.get(reference["shape"])
        if "timestampFormat" in reference:
            format_ = reference["timestampFormat"]
            shape = msgspec.structs.replace(shape, name=f"{shape.name} as {format_}", timestamp_format=format_)
        return Member(
            name=name,
            shape=shape,
            query_name=reference.get("locationName", self._names.members.get(name, name)),
            wire_name=reference.get("locationName", name),
            flattened=reference.get("flattened", shape.flattened),
            place=reference.get("location", ""),
        )


def _read(folder: Traversable) -> dict[str, Any]:
    packed = folder / "service-2.json.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / "service-2.json").read_bytes()
    model: dict[str, Any] = msgspec.json.decode(content)
    return model

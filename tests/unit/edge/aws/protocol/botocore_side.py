"""The other end: botocore's own serializers and parsers, over the same models; and values for any shape."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel as BotocoreOperation
from botocore.model import ServiceModel as BotocoreModel
from botocore.model import Shape as BotocoreShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import strategies as st

from broker.edge.aws.models import QueryNames, ServiceModel, build
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.protocol.names import QUERY_NAMES
from broker.edge.aws.request import Request

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=20)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT | st.sampled_from(["<&>\"'", " x ", "\r\n\t", "a+b%20c&d=e"]),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "blob": st.binary(max_size=20),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "timestamp": st.integers(0, 4_000_000_000_000).map(lambda millis: datetime.fromtimestamp(millis / 1_000, UTC)),
}
DEEP = 1
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
WHOLE_SECONDS = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Entries", "Id", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@cache
def raw_model(service: str) -> dict[str, Any]:
    return dict(Loader().load_service_model(service, "service-2"))


@cache
def ours(service: str) -> ServiceModel:
    return build(service, raw_model(service), QUERY_NAMES.get(service, QueryNames()))


@cache
def theirs(service: str, protocol: str) -> BotocoreModel:
    """As botocore has it; for the query protocol with the names that it had when SQS spoke nothing else."""
    raw = deepcopy(raw_model(service))
    names = QUERY_NAMES.get(service)
    if protocol == "query" and names is not None:
        _give_names(raw, names)
    return BotocoreModel(raw, service)


def sent_by_botocore(model: BotocoreOperation, protocol: str, members: dict[str, Any]) -> Request:
    """As it would go out, but for the signature."""
    serialized = create_serializer(protocol, include_validation=False).serialize_to_request(members, model)
    prepare_request_dict(serialized, endpoint_url="http://here:4566")
    prepared = create_request_object(serialized).prepare()
    url = urlsplit(prepared.url)
    headers = {name.lower().encode(): _raw(value) for name, value in prepared.headers.items()}
    return Request(prepared.method, url.path, url.query.encode(), headers, _raw(prepared.body or b""))


def read_by_botocore(document: Document, protocol: str, shape: BotocoreShape | None) -> dict[str, Any]:
    """As a client is given it; ``Error`` is in it when the status says so."""
    headers = HeadersDict({name.decode(): value.decode() for name, value in document.headers})
    response = {"status_code": document.status, "headers": headers, "body": document.body}
    return dict(create_parser(protocol).parse(response, shape))


def told(value: Any) -> Any:
    """What botocore takes and gives, as the edge has it: instants are seconds."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {name: told(part) for name, part in value.items()}
    return [told(part) for part in value] if isinstance(value, list) else value


def values(shape: BotocoreShape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Whatever fits the shape; what is in it is not empty, as the query protocol cannot say so."""
    if getattr(shape, "is_document_type", False):
        return st.dictionaries(st.text(max_size=5), JSON, max_size=2)
    if shape.type_name == "structure":
        return _structures(shape, depth)
    if shape.type_name == "list":
        return st.lists(values(shape.member, depth + 1), min_size=1, max_size=3)
    if shape.type_name == "map":
        keys = st.sampled_from(shape.key.enum) if getattr(shape.key, "enum", None) else TEXT
        return st.dictionaries(keys, values(shape.value, depth + 1), min_size=1, max_size=3)
    return SCALARS[shape.type_name]


def _structures(shape: BotocoreShape, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Deep inside, and where only one may be there, any one member besides those that have to be."""
    members = shape.members
    required = {name: _placed(members[name], depth + 1) for name in shape.required_members}
    others = [name for name in members if name not in required]
    if others and (shape.is_tagged_union or depth > DEEP):
        if required and not shape.is_tagged_union:
            return st.fixed_dictionaries(required)
        return st.sampled_from(others).flatmap(
            lambda one: st.fixed_dictionaries({one: _placed(members[one], depth + 1)})
        )
    optional = {name: _placed(members[name], depth + 1) for name in others}
    if depth and optional and not required:
        return st.sampled_from(others).flatmap(lambda one: _with(one, optional))
    return st.fixed_dictionaries(required, optional=optional)


def _with(one: str, members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    others = {name: each for name, each in members.items() if name != one}
    return st.fixed_dictionaries({one: members[one]}, optional=others)


def _placed(member: BotocoreShape, depth: int) -> st.SearchStrategy[Any]:
    """REST puts some members where not every text fits."""
    place = member.serialization.get("location")
    if place in ("uri", "header", "headers") and member.type_name == "string":
        return VISIBLE
    if place == "querystring" and member.type_name == "map":
        return st.dictionaries(VISIBLE, TEXT, min_size=1, max_size=3)
    if place == "header" and member.type_name == "timestamp":
        return WHOLE_SECONDS
    if place == "statusCode":
        return st.sampled_from([200, 202, 429])
    return values(member, depth)


def _raw(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _give_names(raw: dict[str, Any], names: QueryNames) -> None:
    for name, shape in raw["shapes"].items():
        for member, reference in shape.get("members", {}).items():
            if member in names.members:
                reference["locationName"] = names.members[member]
        if name in names.elements:
            shape["member"]["locationName"] = names.elements[name]
        if name in names.entries:
            shape["key"]["locationName"], shape["value"]["locationName"] = names.entries[name]
    for name, operation in raw["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"

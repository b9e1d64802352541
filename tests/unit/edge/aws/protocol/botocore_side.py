"""The other end: botocore's own serializers and parsers, over the same models; and values for any shape."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel as BotocoreModel
from botocore.model import Shape as BotocoreShape
from hypothesis import strategies as st

from broker.edge.aws.models import QueryNames, ServiceModel, build
from broker.edge.aws.protocol.names import QUERY_NAMES

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=20)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT | st.sampled_from(["<&>\"'", " x ", "\r\n\t", "a+b%20c&d=e"]),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "blob": st.binary(max_size=20),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "double": st.floats(allow_nan=False, allow_infinity=False),
}


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


def values(shape: BotocoreShape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Whatever fits the shape; what is in it is not empty, as the query protocol cannot say so."""
    if shape.type_name == "structure":
        members = {name: values(member, depth + 1) for name, member in shape.members.items()}
        required = {name: members[name] for name in shape.required_members}
        optional = {name: each for name, each in members.items() if name not in required}
        whole = st.fixed_dictionaries(required, optional=optional)
        return whole.filter(bool) if depth else whole
    if shape.type_name == "list":
        return st.lists(values(shape.member, depth + 1), min_size=1, max_size=3)
    if shape.type_name == "map":
        keys = st.sampled_from(shape.key.enum) if getattr(shape.key, "enum", None) else TEXT
        return st.dictionaries(keys, values(shape.value, depth + 1), min_size=1, max_size=3)
    return SCALARS[shape.type_name]


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

"""Cases generated from SQS's service model: what is required is missing, and every member has a wrong type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape

from tests.conformance.sqs.nodes import TIMEOUT

MODEL = ServiceModel(Loader().load_service_model("sqs", "service-2"), "sqs")
WRONG: dict[str, Any] = {
    "string": [],
    "integer": "seven",
    "long": "seven",
    "boolean": "perhaps",
    "list": {"a": "b"},
    "map": ["a"],
    "structure": "text",
    "blob": 7,
}
RIGHT: dict[str, Any] = {"string": "x", "integer": 1, "long": 1, "boolean": True, "blob": "AA=="}
"""Enough to get past the check of types."""


def call(endpoint: str, operation: str, content: Any) -> tuple[int, dict[str, Any], str]:
    """Status, answer, and the header that tells SDKs the older code."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{operation}"}
    request = Request(endpoint, json.dumps(content).encode(), headers)
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            return response.status, json.loads(response.read() or b"{}"), ""
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers.get("x-amzn-query-error", "")


def right(shape: Shape) -> Any:
    """A value of the right type, whatever it means."""
    if shape.type_name == "list":
        return [right(shape.member)]
    if shape.type_name == "map":
        return {"a": right(shape.value)}
    if shape.type_name == "structure":
        return {name: right(shape.members[name]) for name in shape.required_members}
    return RIGHT[shape.type_name]


def operations() -> Iterator[tuple[str, Shape]]:
    for name in MODEL.operation_names:
        shape = MODEL.operation_model(name).input_shape
        assert shape is not None
        yield name, shape


REQUIRED = [(name, member) for name, shape in operations() for member in shape.required_members]
MEMBERS = [(name, member) for name, shape in operations() for member in shape.members]


def test_there_are_all_operations(endpoint: str) -> None:
    assert len(MODEL.operation_names) == 23
    for name in MODEL.operation_names:
        _, answer, _ = call(endpoint, name, {})
        assert "UnknownOperation" not in answer.get("__type", "")


@pytest.mark.parametrize(("operation", "member"), REQUIRED)
def test_what_is_required_and_missing(endpoint: str, operation: str, member: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    content = {name: right(each) for name, each in shape.members.items() if name != member}
    status, answer, older = call(endpoint, operation, content)
    assert status == 400
    assert answer["__type"] == "com.amazonaws.sqs#MissingRequiredParameterException"
    assert answer["message"] == f"The request must contain the parameter {member}."
    assert older == "MissingParameter;Sender"


@pytest.mark.parametrize(("operation", "member"), MEMBERS)
def test_wrong_types(endpoint: str, operation: str, member: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    content = {name: right(shape.members[name]) for name in shape.required_members}
    content[member] = WRONG[shape.members[member].type_name]
    status, answer, _ = call(endpoint, operation, content)
    assert (status, answer["__type"]) == (400, "com.amazon.coral.service#SerializationException")


@pytest.mark.parametrize("content", [[], "text", 7, None])
def test_what_is_no_request_at_all(endpoint: str, content: Any) -> None:
    status, answer, _ = call(endpoint, "ListQueues", content)
    assert (status, answer["__type"]) == (400, "com.amazon.coral.service#SerializationException")

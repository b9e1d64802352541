"""Cases generated from SQS's service model, for every operation and member, inside others, too: what is required is
missing, every member has a wrong type, every name that may be asked for is asked for. Bounds: see test_boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.serialize import create_serializer

from tests.conformance.sqs.speaking import PROTOCOLS, Answer, Protocol, ask, ask_form, ask_json
from tests.unit.edge.aws.protocol.botocore_side import theirs

MODEL = ServiceModel(Loader().load_service_model("sqs", "service-2"), "sqs")
WRONG: dict[str, tuple[Any, ...]] = {
    "string": ([], {}, 7, 1.5, True),
    "integer": ("seven", "7", [], {}, 1.5, True, 2**31, -(2**31) - 1),
    "long": ("seven", "7", [], {}, 1.5, True, 2**63, -(2**63) - 1),
    "boolean": ("perhaps", 1, []),
    "list": ({"a": "b"}, "text", 7, True),
    "map": (["a"], "text", 7, True),
    "structure": ("text", ["a"], 7, True),
    "blob": (7, "not base64!", [], {}),
}
RIGHT: dict[str, Any] = {"string": "x", "integer": 1, "long": 1, "boolean": True, "blob": "AA=="}
"""Enough to get past the check of types."""
SERIALIZATION = "com.amazon.coral.service#SerializationException"
MISSING = "com.amazonaws.sqs#MissingRequiredParameterException"


class Place(NamedTuple):
    """Of a member in an operation's input: the way there, by names, by 0 in a list, by "a" in a map."""

    operation: str
    way: tuple[str | int, ...]
    shape: Shape

    def __str__(self) -> str:
        return "-".join([self.operation, *map(str, self.way)])


def right(shape: Shape) -> Any:
    """A value of the right type, whatever it means, with all members that are required."""
    if shape.type_name == "list":
        return [right(shape.member)]
    if shape.type_name == "map":
        return {"a": right(shape.value)}
    if shape.type_name == "structure":
        return {name: right(shape.members[name]) for name in shape.required_members}
    return RIGHT[shape.type_name]


def inputs() -> Iterator[tuple[str, Shape]]:
    for name in MODEL.operation_names:
        shape = MODEL.operation_model(name).input_shape
        assert shape is not None
        yield name, shape


def places() -> Iterator[Place]:
    """All, however deep."""
    for operation, shape in inputs():
        yield from _inside(operation, (), shape)


def _inside(operation: str, way: tuple[str | int, ...], shape: Shape) -> Iterator[Place]:
    inner: list[tuple[str | int, Shape]] = []
    if shape.type_name == "structure":
        inner = list(shape.members.items())
    elif shape.type_name == "list":
        inner = [(0, shape.member)]
    elif shape.type_name == "map":
        inner = [("a", shape.value)]
    for step, member in inner:
        place = Place(operation, (*way, step), member)
        yield place
        yield from _inside(operation, place.way, member)


def request_with(place: Place, value: Any) -> Any:
    """A request that is right up to there."""
    shape = MODEL.operation_model(place.operation).input_shape
    content = there = right(shape)
    for step in place.way[:-1]:
        shape = _part(shape, step)
        there = there.setdefault(step, right(shape)) if isinstance(there, dict) else there[step]
    there[place.way[-1]] = value
    return content


def request_without(place: Place) -> Any:
    content = there = request_with(place, None)
    for step in place.way[:-1]:
        there = there[step]
    del there[place.way[-1]]
    return content


def _part(shape: Shape, step: str | int) -> Shape:
    if shape.type_name == "structure":
        return shape.members[step]
    return shape.member if shape.type_name == "list" else shape.value


def form_of(operation: str, content: dict[str, Any]) -> dict[str, Any]:
    model = theirs("sqs", "query").operation_model(operation)
    return dict(create_serializer("query", include_validation=False).serialize_to_request(content, model)["body"])


PLACES = list(places())
REQUIRED = [
    (Place(operation, (*way, name), shape.members[name]), not way or len(shape.required_members) > 1)
    for operation, way, shape in [
        *((operation, (), shape) for operation, shape in inputs()),
        *(place for place in PLACES if place.shape.type_name == "structure"),
    ]
    for name in shape.required_members
]
"""And whether something is left where they are missing: in a form a structure is there if something in it is. Neither
can a form tell a list or a map that was not sent from an empty one."""
MISSING_CASES = [
    (place, protocol)
    for place, something_left in REQUIRED
    for protocol in PROTOCOLS
    if protocol == "json" or (something_left and place.shape.type_name not in ("list", "map"))
]


def test_there_are_all_operations(endpoint: str) -> None:
    assert len(MODEL.operation_names) == 23
    for name in MODEL.operation_names:
        assert "UnknownOperation" not in ask_json(endpoint, name, {}).shape
    assert len(PLACES) > 100
    assert len(REQUIRED) > 40


@pytest.mark.parametrize(("place", "protocol"), MISSING_CASES, ids=str)
def test_what_is_required_and_missing(endpoint: str, place: Place, protocol: Protocol) -> None:
    answer = ask(endpoint, protocol, place.operation, request_without(place))
    message = f"The request must contain the parameter {place.way[-1]}."
    assert answer == Answer(400, "MissingParameter", message, MISSING if protocol == "json" else "")


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_wrong_types(endpoint: str, place: Place) -> None:
    for value in WRONG[place.shape.type_name]:
        answer = ask_json(endpoint, place.operation, request_with(place, deepcopy(value)))
        assert (answer.status, answer.shape) == (400, SERIALIZATION), value
        assert answer.message, value


@pytest.mark.parametrize("place", [each for each in PLACES if each.shape.type_name in ("integer", "blob")], ids=str)
def test_texts_that_are_no_numbers_and_no_base64(endpoint: str, place: Place) -> None:
    fields = form_of(place.operation, request_with(place, 77_777 if place.shape.type_name == "integer" else b"77777"))
    (name,) = (name for name, value in fields.items() if str(value) in ("77777", "Nzc3Nzc="))
    for wrong in ("seven", "1.5", "!", "7 7"):
        answer = ask_form(endpoint, {**fields, name: wrong})
        assert (answer.status, answer.code) == (400, "MalformedInput"), wrong
        assert repr(wrong) in answer.message


@pytest.mark.parametrize("content", [[], "text", 7, None])
def test_what_is_no_request_at_all(endpoint: str, content: Any) -> None:
    answer = ask_json(endpoint, "ListQueues", content)
    assert (answer.status, answer.shape) == (400, SERIALIZATION)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("operation", "member"),
    [
        (operation, name)
        for operation, shape in inputs()
        for name, part in shape.members.items()
        if part.type_name == "list" and getattr(part.member, "enum", None)
    ],
)
def test_every_name_that_may_be_asked_for(
    endpoint: str, fifo: str, operation: str, member: str, protocol: Protocol
) -> None:
    names = MODEL.operation_model(operation).input_shape.members[member].member.enum
    assert "All" in names
    for name in names:
        assert ask(endpoint, protocol, operation, {"QueueUrl": fifo, member: [name]}).status == 200, name
    for name in ("Colour", "all", ""):
        answer = ask(endpoint, protocol, operation, {"QueueUrl": fifo, member: [name]})
        shape = "com.amazonaws.sqs#InvalidAttributeName" if protocol == "json" else ""
        assert answer == Answer(400, "InvalidAttributeName", f"Unknown Attribute {name}.", shape)


ODD = (
    "\ud800",
    "\x00",
    "\uffff",
    "é" * 50_000,
    '{"a":' * 4_000,
    "[" * 10_000,
    "http://",
    "//",
    "arn:aws:sqs:::",
    "%00",
    "a\n",
)
"""Texts that somebody may trip over: no UTF-8, no XML, much too long, JSON without a bottom, half an address."""


@pytest.mark.parametrize("place", [each for each in PLACES if each.shape.type_name == "string"], ids=str)
def test_no_text_breaks_an_operation(endpoint: str, queue: str, place: Place) -> None:
    for text in ODD:
        content = request_with(place, text)
        if "QueueUrl" in content and place.way != ("QueueUrl",):
            content["QueueUrl"] = queue
        assert ask_json(endpoint, place.operation, content).status < 500, text[:20]


@pytest.mark.parametrize("operation", ["CreateQueue", "SetQueueAttributes"])
@pytest.mark.parametrize("attribute", MODEL.shape_for("QueueAttributeName").enum)
def test_no_text_breaks_an_attribute(endpoint: str, queue: str, name: str, operation: str, attribute: str) -> None:
    for text in ODD:
        named = {"QueueUrl": queue} if operation == "SetQueueAttributes" else {"QueueName": name + "-odd"}
        answer = ask_json(endpoint, operation, {**named, "Attributes": {attribute: text}})
        assert answer.status in (400, 403) or (attribute == "KmsMasterKeyId" and answer.status == 200), text[:20]

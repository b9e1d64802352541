from __future__ import annotations

import pytest

from broker.edge.aws.models import QueryNames, build, load
from broker.edge.aws.protocol.names import QUERY_NAMES


def test_the_model_of_sqs_has_all_operations_and_what_they_require() -> None:
    model = load("sqs", QUERY_NAMES["sqs"])
    assert len(model.operations) == 23
    assert (model.target_prefix, model.json_version, model.version) == ("AmazonSQS", "1.0", "2012-11-05")
    send = model.operations["SendMessage"]
    assert send.input.required == ("QueueUrl", "MessageBody")
    assert send.input.members["DelaySeconds"].shape.kind == "integer"
    assert model.operations["DeleteMessage"].output is None


def test_every_list_and_map_of_sqs_has_its_name_of_old() -> None:
    """A new shape in a newer model must not be forgotten."""
    seen, ahead = set(), []
    for operation in load("sqs", QUERY_NAMES["sqs"]).operations.values():
        ahead += [shape for shape in (operation.input, operation.output) if shape is not None]
    while ahead:
        shape = ahead.pop()
        if shape.name in seen:
            continue
        seen.add(shape.name)
        assert shape.kind != "list" or shape.element_name, shape.name
        assert shape.kind != "map" or shape.key_name in ("Name", "Key"), shape.name
        parts = (shape.element, shape.value, *(member.shape for member in shape.members.values()))
        ahead += [part for part in parts if part is not None]
    assert len(seen) > 60


def test_a_service_that_there_is_not_is_named() -> None:
    with pytest.raises(LookupError, match="no model of 'sqz'"):
        load("sqz")


def test_a_shape_may_contain_itself() -> None:
    raw = {
        "metadata": {"apiVersion": "1", "endpointPrefix": "tree", "protocol": "json"},
        "operations": {"Grow": {"http": {"method": "POST", "requestUri": "/"}, "input": {"shape": "Node"}}},
        "shapes": {
            "Node": {"type": "structure", "members": {"Left": {"shape": "Node"}, "All": {"shape": "Nodes"}}},
            "Nodes": {"type": "list", "member": {"shape": "Node"}},
        },
    }
    node = build("tree", raw, QueryNames()).operations["Grow"].input
    assert node.members["Left"].shape is node
    assert node.members["All"].shape.element is node

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.edge.aws.contract import AwsError
from broker.edge.aws.models import QueryNames, build
from broker.edge.aws.protocol import rest_json
from broker.edge.aws.protocol.contract import Codec
from broker.edge.aws.request import Request
from tests.unit.edge.aws.protocol.botocore_side import (
    ours,
    read_by_botocore,
    sent_by_botocore,
    theirs,
    told,
    values,
)

SERVICES = ("apigateway", "apigatewayv2", "scheduler")
OPERATIONS = [(service, name) for service in SERVICES for name in ours(service).operations]


def codec(service: str, operation: str) -> Codec:
    return rest_json.codec(ours(service).operations[operation], ours(service))


def asked(path: str, body: bytes = b"", query: bytes = b"", method: str = "POST", **headers: str) -> Request:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request(method, path, query, raw, body)


def made(uri: str, members: dict[str, Any], payload: str = "", status: int = 200, **shapes: Any) -> Codec:
    """Of an operation that takes and gives these members."""
    traits = {"payload": payload} if payload else {}
    sides = {side: {"shape": "All"} for side in ("input", "output")}
    http = {"method": "POST", "requestUri": uri, "responseCode": status}
    scalars = {kind: {"type": kind} for kind in ("string", "integer", "boolean", "timestamp", "double", "blob")}
    service = build(
        "any",
        {
            "metadata": {"apiVersion": "1", "endpointPrefix": "any", "protocol": "rest-json"},
            "operations": {"Do": {"http": http, **sides}},
            "shapes": {"All": {"type": "structure", "members": members, **traits}, **scalars, **shapes},
        },
        QueryNames(),
    )
    return rest_json.codec(service.operations["Do"], service)


def bound(shape: str, place: str, name: str = "it") -> dict[str, str]:
    return {"shape": shape, "location": place, "locationName": name}


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@settings(max_examples=2)
@given(data=st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(service: str, operation: str, data: st.DataObject) -> None:
    model = theirs(service, "rest-json").operation_model(operation)
    members = {} if model.input_shape is None else data.draw(values(model.input_shape))
    sent = sent_by_botocore(model, "rest-json", members)
    assert codec(service, operation).parse(sent, {}) == told(members)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@settings(max_examples=2)
@given(data=st.data())
def test_what_is_answered_is_read_by_botocore_as_it_was_meant(
    service: str, operation: str, data: st.DataObject
) -> None:
    shape = theirs(service, "rest-json").operation_model(operation).output_shape
    output = {} if shape is None else _text_payload(data.draw(values(shape)), shape)
    document = codec(service, operation).write(told(output), "")
    read = read_by_botocore(document, "rest-json", shape)
    read.pop("ResponseMetadata")
    assert read == output
    assert document.status == ours(service).operations[operation].status


def _text_payload(output: dict[str, Any], shape: Any) -> dict[str, Any]:
    """botocore takes a body that is one blob for a text."""
    payload = None if shape is None else shape.serialization.get("payload")
    is_blob = payload is not None and shape.members[payload].type_name == "blob"
    return {**output, payload: "text"} if is_blob else output


def test_labels_are_decoded_and_have_their_types() -> None:
    codec = made(
        "/things/{id}/parts/{number}", {"Id": bound("string", "uri", "id"), "N": bound("integer", "uri", "number")}
    )
    assert codec.parse(asked("/things/a%2Fb%20%C3%A9/parts/-7"), {}) == {"Id": "a/b é", "N": -7}


def test_a_greedy_label_has_slashes() -> None:
    codec = made("/things/{path+}/end", {"Path": bound("string", "uri", "path")})
    assert codec.parse(asked("/things/a/b/end/end"), {}) == {"Path": "a/b/end"}


def test_the_query_of_the_url() -> None:
    members = {
        "Limit": bound("integer", "querystring", "limit"),
        "Deep": bound("boolean", "querystring", "deep"),
        "Since": bound("timestamp", "querystring", "since"),
        "Keys": bound("Keys", "querystring", "key"),
        "Rest": bound("Rest", "querystring", "rest"),
    }
    shapes = {
        "Keys": {"type": "list", "member": {"shape": "string"}},
        "Rest": {"type": "map", "key": {"shape": "string"}, "value": {"shape": "string"}},
    }
    codec = made("/things?mode=all", members, **shapes)
    query = b"mode=all&limit=5&deep=true&since=2026-11-28T12:00:00Z&key=a%26&key=b+c&colour=red"
    assert codec.parse(asked("/things", query=query), {}) == {
        "Limit": 5,
        "Deep": True,
        "Since": datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp(),
        "Keys": ["a&", "b c"],
        "Rest": {"colour": "red"},
    }
    assert codec.parse(asked("/things", query=b"mode=all"), {}) == {}


def test_headers_of_every_type_both_ways() -> None:
    members = {
        "Text": bound("string", "header", "X-Text"),
        "Count": bound("integer", "header", "X-Count"),
        "Ratio": bound("double", "header", "X-Ratio"),
        "Sure": bound("boolean", "header", "X-Sure"),
        "When": bound("timestamp", "header", "X-When"),
        "Many": bound("Many", "header", "X-Many"),
        "Meta": bound("Meta", "headers", "X-Meta-"),
    }
    shapes = {
        "Many": {"type": "list", "member": {"shape": "string"}},
        "Meta": {"type": "map", "key": {"shape": "string"}, "value": {"shape": "string"}},
    }
    codec = made("/", members, **shapes)
    known = {
        "Text": "a b",
        "Count": 3,
        "Ratio": 1.5,
        "Sure": True,
        "When": datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp(),
        "Many": ["a", "b, c", 'say "d"', "e\\f"],
        "Meta": {"colour": "red", "size": "9"},
    }
    headers = codec.write(known, "").headers
    assert dict(headers)[b"x-when"] == b"Sat, 28 Nov 2026 12:00:00 GMT"
    assert dict(headers)[b"x-many"] == b'a,"b, c","say \\"d\\"",e\\f'
    assert codec.parse(Request("POST", "/", b"", dict(headers), b""), {}) == known


def test_a_header_does_not_end_early() -> None:
    codec = made("/", {"Text": bound("string", "header", "x-text")})
    document = codec.write({"Text": "a\r\nset-cookie: b\x00"}, "")
    assert (b"x-text", b"a  set-cookie: b ") in document.headers


@pytest.mark.parametrize(
    ("kind", "sent", "read"), [("blob", b"\x00\xff", b"\x00\xff"), ("string", "é".encode(), "é"), ("blob", b"", None)]
)
def test_the_body_may_be_one_member_as_it_is(kind: str, sent: bytes, read: Any) -> None:
    codec = made("/", {"Body": {"shape": kind}}, payload="Body")
    assert codec.parse(asked("/", sent), {}) == ({} if read is None else {"Body": read})
    document = codec.write({"Body": read}, "")
    assert (document.body, document.headers) == (sent, ())


def test_the_body_may_be_one_member_as_json() -> None:
    inner = {"Inner": {"type": "structure", "members": {"A": {"shape": "string", "locationName": "a"}}}}
    codec = made("/", {"Body": {"shape": "Inner"}, "Code": bound("integer", "statusCode")}, payload="Body", **inner)
    assert codec.parse(asked("/", b'{"a": "x"}'), {}) == {"Body": {"A": "x"}}
    document = codec.write({"Body": {"A": "x"}, "Code": 429}, "")
    assert (document.status, document.body) == (429, b'{"a":"x"}')
    assert document.headers == ((b"content-type", b"application/json"),)


def test_no_content_has_no_body() -> None:
    document = made("/", {"A": {"shape": "string"}}, status=204).write({}, "")
    assert (document.status, document.headers, document.body) == (204, (), b"")


def test_errors_are_read_by_botocore_with_code_and_message() -> None:
    document = codec("apigateway", "GetRestApi").error(AwsError("NotFoundException", "no API", 404), "")
    shape = theirs("apigateway", "rest-json").operation_model("GetRestApi").output_shape
    read = read_by_botocore(document, "rest-json", shape)
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("NotFoundException", "no API")
    assert (document.status, json.loads(document.body)) == (404, {"message": "no API"})


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (asked("/7", b"{"), "not valid JSON"),
        (asked("/7", b"[]"), "Start of list found"),
        (asked("/7", b"[" * 100_000), "nested too deeply"),
        (asked("/seven"), "The value of N has not the form"),
        (asked("/7", query=b"flag=perhaps"), "The value of Flag has not the form"),
        (asked("/7", when="yesterday"), "The value of When has not the form"),
        (asked("/%FF"), "not valid UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(request_: Request, said: str) -> None:
    members = {
        "N": bound("integer", "uri", "n"),
        "Flag": bound("boolean", "querystring", "flag"),
        "When": bound("timestamp", "header", "when"),
        "Text": {"shape": "string"},
    }
    with pytest.raises(AwsError) as refused:
        made("/{n}", members).parse(request_, {})
    assert refused.value.code == "SerializationException"
    assert said in refused.value.message


def test_what_is_required_and_missing_in_any_place() -> None:
    with pytest.raises(AwsError, match="Value null at 'name'"):
        codec("apigateway", "CreateRestApi").parse(asked("/restapis", b"{}"), {})
    with pytest.raises(AwsError, match="Value null at 'tagKeys'"):
        codec("apigateway", "UntagResource").parse(asked("/tags/x"), {})

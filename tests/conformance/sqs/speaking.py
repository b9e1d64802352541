"""One request in either protocol of SQS, without an SDK's checks: what botocore's serializers write, or what they never
would."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Literal, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from botocore.serialize import create_serializer

from tests.conformance.sqs.nodes import NAMESPACE, TIMEOUT
from tests.unit.edge.aws.protocol.botocore_side import theirs

Protocol = Literal["json", "query"]
PROTOCOLS: tuple[Protocol, ...] = ("json", "query")
_CODE, _MESSAGE = "Code", "Message"


class Answer(NamedTuple):
    """``code``: that of the query protocol, which JSON has in a header, too; ``shape``: of JSON alone. ``failed``: of a
    batch, the codes and messages of entries."""

    status: int
    code: str = ""
    message: str = ""
    shape: str = ""
    failed: tuple[tuple[str, str], ...] = ()


def ask(endpoint: str, protocol: Protocol, operation: str, members: dict[str, Any]) -> Answer:
    """Of members in the model's names."""
    if protocol == "json":
        return ask_json(endpoint, operation, members)
    model = theirs("sqs", "query").operation_model(operation)
    fields = create_serializer("query", include_validation=False).serialize_to_request(members, model)["body"]
    return ask_form(endpoint, fields)


def ask_json(endpoint: str, operation: str, content: Any) -> Answer:
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{operation}"}
    status, body, older = _send(Request(endpoint, json.dumps(content, default=_text).encode(), headers))
    said = json.loads(body or b"{}")
    if status == 200:
        return Answer(status, failed=tuple((each["Code"], each["Message"]) for each in said.get("Failed", [])))
    code, _, fault = older.partition(";")
    assert fault == "Sender", older
    return Answer(status, code, said["message"], said["__type"])


def ask_form(endpoint: str, fields: dict[str, Any]) -> Answer:
    scope = "Credential=test/20260101/us-east-1/sqs/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none"}
    status, body, _ = _send(Request(endpoint, urlencode(fields).encode(), headers))
    root = ElementTree.fromstring(body)
    if status == 200:
        entries = root.iter(f"{NAMESPACE}BatchResultErrorEntry")
        return Answer(status, failed=tuple((_of(each, _CODE), _of(each, _MESSAGE)) for each in entries))
    error = root.find(f"{NAMESPACE}Error")
    assert error is not None
    assert _of(error, "Type") == "Sender"
    return Answer(status, _of(error, _CODE), _of(error, _MESSAGE))


def _of(element: ElementTree.Element, name: str) -> str:
    return element.findtext(NAMESPACE + name) or ""


def _send(request: Request) -> tuple[int, bytes, str]:
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            return response.status, response.read(), ""
    except HTTPError as error:
        with error:
            return error.code, error.read(), error.headers.get("x-amzn-query-error", "")


def _text(value: bytes) -> str:
    """Blobs, as JSON has them."""
    return b64encode(value).decode()

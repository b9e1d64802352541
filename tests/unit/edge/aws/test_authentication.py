"""The step that tells who calls, as callers meet it: through the whole app, signed by botocore."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.auth import SigV4QueryAuth

from broker.base.errors import Unavailable
from broker.base.instants import MINUTE, Millis, WallMillis
from broker.edge.aws import errors, sigv4
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.edge.aws.sts.service import StsService
from broker.telemetry.metrics import Registry
from tests.unit.edge.aws.signing import KEY, ROOT, FakeKeys, signed, streamed

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LIST = b"Action=ListQueues&Version=2012-11-05"
ALICE = "arn:aws:iam::123456789012:user/alice"


class Sqs:
    """Notes who calls. Without a policy: nobody but those who signed."""

    name = "sqs"

    def __init__(self) -> None:
        self.calls: list[tuple[Context, Mapping[str, Any]]] = []

    def operations(self) -> Mapping[str, Operation]:
        return dict.fromkeys(("SendMessage", "ListQueues"), self._operation)

    async def _operation(self, context: Context, members: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((context, members))
        return {}


class GuardedSqs(Sqs):
    """Lets everybody send, and alice do nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, Mapping[str, Any]]] = []

    def takes_anonymous(self, operation: str) -> bool:
        return operation == "SendMessage"

    async def authorize(self, context: Context, operation: str, members: Mapping[str, Any]) -> None:
        self.asked.append((context.caller.arn, operation, members))
        if context.caller.arn == ALICE:
            raise errors.access_denied("not alice")


class FixedClock:
    """Of a node whose time is what a request's signature says, and so much later."""

    def __init__(self, request: Request | None = None, later: int = 0) -> None:
        stamp = "20261128T000000Z" if request is None else sigv4.read(request, {}).stamp
        self._now = WallMillis(sigv4.instant(stamp) + later)

    def monotonic(self) -> Millis:
        return Millis(1_000)

    def wall(self) -> WallMillis:
        return self._now


class Node:
    def __init__(self, sqs: Sqs | None = None) -> None:
        self.sqs = sqs or Sqs()
        self.keys = FakeKeys(KEY, ROOT)
        self.clock: Any = None
        self.app: App | None = None

    async def ask(self, request: Request, later: int = 0) -> Document:
        if self.app is None:
            at = request if b"authorization" in request.headers else None
            clock = self.clock or FixedClock(at, later)
            services = [self.sqs, StsService()]
            self.app = App(services, AppSettings(), clock, Registry(), bytes, lambda: None, keys=self.keys)
        return await self.app.answer(request)

    @property
    def caller(self) -> Any:
        return self.sqs.calls[-1][0].caller


def said(document: Document) -> tuple[int, str, str, str]:
    """Of an error in JSON: status, type, the code for clients of the query protocol, message."""
    body, headers = json.loads(document.body), dict(document.headers)
    return document.status, body["__type"], headers[b"x-amzn-query-error"].decode(), body["message"]


def send(**options: Any) -> Request:
    headers = {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"}
    return signed(
        body=b'{"QueueUrl":"q","MessageBody":"x"}', headers={**headers, **options.pop("headers", {})}, **options
    )


def unsigned(request: Request) -> Request:
    del request.headers[b"authorization"], request.headers[b"x-amz-date"]
    return request


@pytest.mark.parametrize(
    ("key", "arn", "user_id"),
    [(KEY, ALICE, "AIDA"), (ROOT, "arn:aws:iam::123456789012:root", "123456789012")],
)
async def test_the_owner_of_the_key_calls(key: Any, arn: str, user_id: str) -> None:
    node = Node()
    for _ in range(3):  # the first is looked up; the second learned from; the third is a usual one
        assert (await node.ask(send(key=key))).status == 200
        assert (node.caller.account, node.caller.region, node.caller.access_key) == (
            "123456789012",
            "eu-west-1",
            key.id,
        )
        assert node.caller.arn == arn
        assert node.caller.user_id.startswith(user_id)
        assert not node.caller.anonymous
    assert node.keys.looked_up == [key.id]


async def test_who_am_i() -> None:
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    document = await Node().ask(signed(body=body, headers=FORM, service="sts"))
    assert document.status == 200
    assert b"<Account>123456789012</Account>" in document.body
    assert b"<Arn>arn:aws:iam::123456789012:user/alice</Arn>" in document.body
    user_id = document.body.partition(b"<UserId>")[2].partition(b"<")[0]
    assert len(user_id) == 21
    again = await Node().ask(signed(body=body, headers=FORM, service="sts"))
    assert user_id in again.body, "the same on every node"


async def test_the_query_protocol_is_signed_in_header_and_url() -> None:
    node = Node()
    assert (await node.ask(signed(body=LIST, headers=FORM))).status == 200
    url = f"http://localhost:4566/?{LIST.decode()}"
    assert (await node.ask(signed(url=url, method="GET", body=b"", headers={}, auth=SigV4QueryAuth))).status == 200
    assert node.caller.arn == ALICE


async def test_what_was_captured_can_be_sent_again() -> None:
    node, request = Node(), send()
    assert [(await node.ask(request)).status for _ in range(3)] == [200, 200, 200]


WRONG = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
CORAL = "com.amazon.coral.service#"
INVALID = "The security token included in the request is invalid."


@pytest.mark.parametrize(
    ("request_", "status", "shape", "code", "message"),
    [
        (
            unsigned(send()),
            403,
            "MissingAuthenticationTokenException",
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ),
        (
            send(key=type(KEY)("AKIANOBODY", "s" * 40, "")),
            403,
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            INVALID,
        ),
        (send(token="of nobody"), 403, "UnrecognizedClientException", "InvalidClientTokenId", INVALID),
        (send(key=type(KEY)(KEY.id, "wrong", "")), 403, "InvalidSignatureException", "SignatureDoesNotMatch", WRONG),
        (
            send(service="sns"),
            403,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "Credential should be scoped to correct service: 'sqs'. ",
        ),
    ],
)
async def test_what_is_wrong_is_told_as_aws_does(
    request_: Request, status: int, shape: str, code: str, message: str
) -> None:
    node = Node()
    document = await node.ask(request_)
    assert said(document) == (status, CORAL + shape, f"{code};Sender", message)
    assert node.sqs.calls == []


async def test_a_signature_that_is_not_whole_is_told_so() -> None:
    request = send()
    request.headers[b"authorization"] = b"Bearer abc"
    status, shape, code, message = said(await _at_a_fixed_time(request))
    assert (status, shape, code) == (400, CORAL + "IncompleteSignatureException", "IncompleteSignature;Sender")
    assert message.startswith("Authorization header requires 'Credential' parameter. Authorization header requires")
    assert "abc" not in message


async def _at_a_fixed_time(request: Request) -> Document:
    node = Node()
    node.clock = FixedClock()
    return await node.ask(request)


@pytest.mark.parametrize(
    ("later", "told"), [(16 * MINUTE, "Signature expired: "), (-16 * MINUTE, "Signature not yet current: ")]
)
async def test_a_clock_that_is_wrong_is_told_so(later: int, told: str) -> None:
    status, shape, code, message = said(await Node().ask(send(), later))
    assert (status, shape, code) == (403, CORAL + "InvalidSignatureException", "SignatureDoesNotMatch;Sender")
    assert message.startswith(told)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (unsigned, "MissingAuthenticationToken"),
        (lambda request: setattr(request, "body", request.body + b"&a=b") or request, "SignatureDoesNotMatch"),
    ],
)
async def test_the_query_protocol_has_names_of_its_own(change: Callable[[Request], Request], code: str) -> None:
    request = signed(body=LIST, headers=FORM)
    node = Node()
    node.clock = FixedClock(request)
    document = await node.ask(change(request))
    assert document.status == 403
    assert f"<Type>Sender</Type><Code>{code}</Code>".encode() in document.body


async def test_signatures_of_before_version_4_are_not_taken() -> None:
    node = Node(GuardedSqs())
    body = b"Action=SendMessage&QueueUrl=q&MessageBody=x&AWSAccessKeyId=AKIDEXAMPLE&SignatureVersion=2&Signature=a"
    document = await node.ask(Request("POST", "/", b"", {b"host": b"here"}, body))
    assert (document.status, b"MissingAuthenticationToken" in document.body) == (403, True)


async def test_a_credential_in_the_form_is_no_credential() -> None:
    node = Node()
    body = LIST + f"&X-Amz-Credential={ROOT.id}/20261128/eu-west-1/sqs/aws4_request".encode()
    assert (await node.ask(Request("POST", "/", b"", {b"host": b"here"}, body))).status == 403
    assert (await Node().ask(signed(body=body, headers=FORM))).status == 200
    node = Node()
    await node.ask(signed(body=body, headers=FORM))
    assert node.caller.arn == ALICE


async def test_a_key_that_cannot_be_looked_up_is_to_be_tried_again() -> None:
    node = Node()
    node.keys.trouble = Unavailable("no leader of group 0")
    document = await node.ask(send())
    assert (document.status, json.loads(document.body)["__type"]) == (503, CORAL + "ServiceUnavailable")


async def test_a_disabled_key_ends_although_it_was_a_usual_one() -> None:
    node = Node()
    for _ in range(3):
        assert (await node.ask(send())).status == 200
    del node.keys.keys[KEY.id]
    assert said(await node.ask(send()))[2] == "InvalidClientTokenId;Sender"


async def test_another_secret_under_the_same_id_is_noticed() -> None:
    node = Node()
    for _ in range(3):
        await node.ask(send())
    node.keys.keys[KEY.id] = type(KEY)(KEY.id, "changed", KEY.account, KEY.user)
    assert said(await node.ask(send()))[2] == "SignatureDoesNotMatch;Sender"
    assert (await node.ask(send(key=node.keys.keys[KEY.id]))).status == 200


async def test_what_was_learned_of_one_service_does_not_hold_for_another() -> None:
    node = Node()
    for _ in range(2):
        await node.ask(send())
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    document = await node.ask(signed(body=body, headers=FORM, service="sqs"))
    assert document.status == 400, "there is no such action of SQS"
    request = signed(body=body, headers=FORM, service="sts")
    assert [(await node.ask(request)).status for _ in range(2)] == [200, 200]


async def test_health_pages_stay_open() -> None:
    node = Node()
    for path in ("/livez", "/readyz", "/_localstack/health"):
        assert (await node.ask(Request("GET", path, b"", {}, b""))).status == 200


async def test_a_body_in_signed_chunks_is_read_when_it_is_verified() -> None:
    node, request = Node(), streamed(b'{"QueueUrl":"q","MessageBody":"in chunks"}', size=10)
    assert (await node.ask(request)).status == 200
    assert node.sqs.calls[0][1] == {"QueueUrl": "q", "MessageBody": "in chunks"}
    request = streamed(b'{"QueueUrl":"q","MessageBody":"in chunks"}', size=10)
    request.body = request.body.replace(b"chunks", b"pieces")
    assert said(await node.ask(request))[2] == "SignatureDoesNotMatch;Sender"


# --- with a service that decides who may do what


async def test_the_service_decides_before_anything_runs() -> None:
    node = Node(GuardedSqs())
    document = await node.ask(send())
    assert said(document) == (403, CORAL + "AccessDeniedException", "AccessDenied;Sender", "not alice")
    assert node.sqs.calls == []
    assert (await node.ask(send(key=ROOT))).status == 200
    assert isinstance(node.sqs, GuardedSqs)
    members = {"QueueUrl": "q", "MessageBody": "x"}
    assert node.sqs.asked == [
        (ALICE, "SendMessage", members),
        ("arn:aws:iam::123456789012:root", "SendMessage", members),
    ]


async def test_what_nobody_signed_reaches_a_service_that_may_let_it_in() -> None:
    node = Node(GuardedSqs())
    assert (await node.ask(unsigned(send()))).status == 200
    assert node.caller.anonymous
    assert (node.caller.account, node.caller.arn, node.caller.user_id) == ("", "", "")
    request = unsigned(send())
    request.headers[b"host"] = b"sqs.ap-southeast-2.localhost"
    await node.ask(request)
    assert node.caller.region == "ap-southeast-2"
    document = await node.ask(Request("POST", "/", b"", {b"host": b"here"}, LIST))
    assert (document.status, b"MissingAuthenticationToken" in document.body) == (403, True)


async def test_what_is_signed_badly_is_not_anonymous() -> None:
    document = await Node(GuardedSqs()).ask(send(key=type(KEY)(KEY.id, "wrong", "")))
    assert said(document)[2] == "SignatureDoesNotMatch;Sender"


async def test_in_development_nobody_is_asked() -> None:
    sqs = GuardedSqs()
    app = App([sqs], AppSettings(), FixedClock(), Registry(), bytes, lambda: None)
    for request in (unsigned(send()), send(key=type(KEY)(KEY.id, "wrong", "")), send(token="any")):
        assert (await app.answer(request)).status == 200
        assert not sqs.calls[-1][0].caller.anonymous
    assert sqs.asked == []

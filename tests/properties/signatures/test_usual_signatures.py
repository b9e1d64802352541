"""The cheap check of signatures against the general one: whatever is odd about a request, what the cheap one accepts
the general one accepts too; and of requests as clients send them it accepts every one but the first."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from broker.base.instants import MINUTE, SECOND, WallMillis
from broker.edge.aws import sigv4
from broker.edge.aws.contract import AwsError, Caller
from broker.edge.aws.protocol import form
from broker.edge.aws.request import Request
from broker.edge.aws.signing_keys import SigningKey
from broker.edge.aws.sigv4 import Signature
from broker.edge.aws.usual_signatures import UsualSignatures
from tests.unit.edge.aws.signing import KEY

SECRET = KEY.secret
STAMPS = ("20261128T100000Z", "20261128T100001Z", "20261128T235959Z", "20261129T000000Z", "20261128T100000", "x", "")
NOW = sigv4.instant(STAMPS[0])
AUTHORIZATION = b"authorization"
HEADERS = {
    b"host": b"localhost:4566",
    b"content-type": b"application/x-amz-json-1.0",
    b"x-amz-date": STAMPS[0].encode(),
    b"x-amz-target": b"AmazonSQS.SendMessage",
}
EXTRA = (b"x-amz-security-token", b"x-amz-content-sha256", b"x-%-odd", b"date", b"amz-sdk-request")
VALUES = (
    b"",
    b"a",
    b" a ",
    b"a  b",
    b"a b",
    b"\ta",
    b"a\xa0",
    b"\xff%b",
    b"UNSIGNED-PAYLOAD",
    b"AmazonSQS.DeleteQueue",
)
NAMES = [*HEADERS, *EXTRA]


def signed(request: Request, covered: list[bytes], stamp: str, spaces: str = ", ", secret: str = SECRET) -> Request:
    """With an Authorization that sigv4 accepts, as far as a request like this one can have it."""
    scope = f"{stamp[:8]}/eu-west-1/sqs/aws4_request"
    begin = (
        f"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope}{spaces}SignedHeaders="
        f"{';'.join(name.decode() for name in covered)}{spaces}Signature="
    )
    request.headers[AUTHORIZATION] = f"{begin}{'0' * 64}".encode()
    try:
        signature = sigv4.read(request, form.decode(request.query))
    except AwsError:
        return request
    payload_hash = sigv4._payload_hash(request, signature)
    canonical = sigv4.canonical_request(request, signature, payload_hash)
    made = sigv4.sign(SigningKey(secret, scope), signature.stamp, scope, canonical)
    request.headers[AUTHORIZATION] = begin.encode() + made
    return request


def rarely(draw: st.DrawFn, usual: Any, *others: Any) -> Any:
    return draw(st.sampled_from([*[usual] * 10 * len(others), *others]))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    stamp = rarely(draw, STAMPS[0], *STAMPS)
    headers = {**HEADERS, b"x-amz-date": stamp.encode()}
    for name in rarely(draw, [], *([name] for name in NAMES)):
        headers[name] = draw(st.sampled_from(VALUES))
    headers.pop(rarely(draw, b"", *HEADERS), None)
    body = draw(st.binary(max_size=5))
    if rarely(draw, False, True):
        headers[b"x-amz-content-sha256"] = sha256(body).hexdigest().encode()
    method, path = rarely(draw, "POST", "GET"), rarely(draw, "/", "/1/orders", "//", "/a/..")
    request = Request(method, path, rarely(draw, b"", b"Action=ListQueues"), headers, body)
    covered = rarely(draw, sorted(HEADERS), [*sorted(HEADERS), b"x-%-odd"], [b"host", b"x-amz-date"], [b"host"])
    signed(request, covered, stamp, rarely(draw, ", ", ","), rarely(draw, SECRET, "another"))
    _change(draw, request)
    return request


def _change(draw: st.DrawFn, request: Request) -> None:
    """On the way, after it was signed."""
    what = rarely(draw, "nothing", "header", "drop", "body", "path", "query", "method", "digit", "tail")
    if what == "header":
        request.headers[draw(st.sampled_from(NAMES))] = draw(st.sampled_from(VALUES))
    elif what == "drop":
        request.headers.pop(draw(st.sampled_from([*NAMES, AUTHORIZATION])), None)
    elif what == "body":
        request.body += b"!"
    elif what == "path":
        request.path = "/other"
    elif what == "query":
        request.query = b"a=b"
    elif what == "method":
        request.method = "GET"
    elif what == "digit":
        request.headers[AUTHORIZATION] = request.headers[AUTHORIZATION][:-1] + draw(st.sampled_from([b"0", b"\xe9"]))
    elif what == "tail":
        request.headers[AUTHORIZATION] += draw(st.sampled_from([b",", b" ", b", Credential=x", b", Signature=0"]))


def learn(usual: UsualSignatures, request: Request, signature: Signature) -> None:
    signing = SigningKey(SECRET, signature.credential.scope)
    usual.learn(request, signature, "sqs", KEY, signing, Caller("123456789012", "eu-west-1"))


def judged(request: Request, now: WallMillis) -> Signature | None:
    try:
        signature = sigv4.read(request, form.decode(request.query))
        if signature.token:
            return None
        sigv4.verify(request, signature, SigningKey(SECRET, signature.credential.scope), now)
    except AwsError:
        return None
    return signature


offsets = st.sampled_from([0, 0, 0, 15 * MINUTE, 15 * MINUTE + 1, -15 * MINUTE, -15 * MINUTE - 1, 14 * 60 * MINUTE])


@settings(max_examples=300)
@given(st.lists(requests(), min_size=2, max_size=5), offsets)
def test_what_the_cheap_check_accepts_the_general_one_does(received: list[Request], later: int) -> None:
    now = WallMillis(NOW + later)
    usual = UsualSignatures()
    for request in received:
        signature = judged(request, now)
        found = usual.recognise(request)
        if found is not None and usual.accepts(request, found, now):
            event("accepted by the cheap check")
            assert signature is not None
            assert found.credential == signature.credential
        if signature is not None:
            learn(usual, request, signature)


def clients_requests() -> Iterator[tuple[Request, WallMillis]]:
    for second in range(5):
        now = WallMillis(NOW + second * SECOND)
        headers = {**HEADERS, b"x-amz-date": f"20261128T10000{second}Z".encode(), b"amz-sdk-request": b"attempt=1"}
        yield signed(Request("POST", "/", b"", headers, b"%d" % second), sorted(HEADERS), "20261128"), now


def test_what_clients_send_is_accepted_from_the_second_request_on() -> None:
    usual = UsualSignatures()
    accepted = []
    for request, now in clients_requests():
        found = usual.recognise(request)
        accepted.append(found is not None and usual.accepts(request, found, now))
        signature = judged(request, now)
        assert signature is not None
        learn(usual, request, signature)
    assert accepted == [False, True, True, True, True]

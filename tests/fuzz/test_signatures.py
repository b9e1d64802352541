"""Nonsense in place of a signature: whatever is said, the answer is a refusal, never a failure, and never a way in."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from broker.aio.system_clock import SystemClock
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.request import Request
from broker.edge.aws.sts.service import StsService
from broker.telemetry.metrics import Registry
from tests.fuzz.examples import many
from tests.unit.edge.aws.signing import KEY, FakeKeys

SCOPE = f"{KEY.id}/20261128/eu-west-1/sts/aws4_request"
ACTION = b"Action=GetCallerIdentity&Version=2011-06-15"
parts = st.sampled_from(
    [
        b"AWS4-HMAC-SHA256",
        b"AWS4-HMAC-SHA1",
        b"Credential=" + SCOPE.encode(),
        b"Credential=",
        b"SignedHeaders=host;x-amz-date",
        b"SignedHeaders=\xe9;;host;\xc4\xb0",
        b"Signature=" + b"0" * 64,
        b"Signature=\xe9",
        b" ",
        b", ",
        b",",
        b"=",
        b"\x00",
    ]
) | st.binary(max_size=10)
texts = st.lists(parts, max_size=9).map(b"".join)
stamps = (
    st.sampled_from([b"20261128T000000Z", b"20261399T999999Z", b"00000000T000000Z", b"Sat, 28 Nov 2026 10:00:00 GMT"])
    | texts
)
names = st.sampled_from(["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"])
values = st.sampled_from(
    ["AWS4-HMAC-SHA256", SCOPE, "20261128T000000Z", "host", "60", "%FF", "%C4%B0", "-1", "99999999"]
)
hashes = st.sampled_from([b"UNSIGNED-PAYLOAD", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"0" * 64, b"\xe9"])


def answered(request: Request) -> int:
    app = App([StsService()], AppSettings(), SystemClock(), Registry(), bytes, lambda: None, keys=FakeKeys(KEY))
    return asyncio.run(app.answer(request)).status


@many
@given(texts, stamps, st.none() | hashes, st.binary(max_size=40))
def test_in_the_header(authorization: bytes, date: bytes, content: bytes | None, body: bytes) -> None:
    headers = {b"host": b"sts.localhost", b"authorization": authorization, b"x-amz-date": date}
    if content is not None:
        headers[b"x-amz-content-sha256"] = content
    for more in ({}, {b"date": date}):
        assert answered(Request("POST", "/", ACTION, {**headers, **more}, body)) in (400, 403, 404)


@many
@given(st.dictionaries(names, values | st.text(max_size=5), max_size=7), st.text(max_size=8))
def test_in_the_url(fields: dict[str, str], path: str) -> None:
    query = ACTION + "".join(f"&X-Amz-{name}={value}" for name, value in fields.items()).encode()
    assert answered(Request("GET", "/" + path, query, {b"host": b"sts.localhost"}, b"")) in (400, 403, 404)


@many
@given(st.binary(max_size=60), st.integers(0, 80))
def test_in_chunks(body: bytes, size: int) -> None:
    head = b"%x;chunk-signature=%b\r\n" % (size, b"0" * 64)
    headers = {b"host": b"sts.localhost", b"x-amz-content-sha256": b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    for sent in (body, head + body, head + body[:size] + b"\r\n" + head.replace(b"%x" % size, b"0") + b"\r\n"):
        assert answered(Request("POST", "/", ACTION, headers, sent)) in (400, 403, 404)

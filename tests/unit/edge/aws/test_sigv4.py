from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4QueryAuth

from broker.base.instants import MINUTE, SECOND, WallMillis
from broker.edge.aws import chunks, sigv4
from broker.edge.aws.contract import AwsError
from broker.edge.aws.protocol import form
from broker.edge.aws.request import Request
from broker.edge.aws.signing_keys import SigningKey
from tests.unit.edge.aws.signing import KEY, signed

SECRET = KEY.secret


def now_of(request: Request) -> WallMillis:
    return WallMillis(sigv4.instant(sigv4.read(request, form.decode(request.query)).stamp))


def verify(request: Request, secret: str = SECRET, later: int = 0) -> bytes:
    chunks.take_apart(request)
    signature = sigv4.read(request, form.decode(request.query))
    key = SigningKey(secret, signature.credential.scope)
    sigv4.verify(request, signature, key, WallMillis(now_of(request) + later))
    return request.body


@pytest.mark.parametrize(
    "request_",
    [
        signed(),
        signed(body=b""),
        signed(body=b"x" * 100_000),
        signed(token="a/session+token="),
        signed(url="http://localhost:4566/000000000000/orders.fifo"),
        signed(url="http://localhost:4566/a//b/../c/./d%20e/"),
        signed(url="http://localhost:4566/?b=2&a=1&a=0&c=x%20y&d=%2F&e", method="GET", body=b""),
        signed(headers={"X-Amz-Meta": "  many   spaces  ", "Content-Type": "application/x-amz-json-1.0"}),
        signed(auth=SigV4QueryAuth, method="GET", body=b"", url="http://localhost:4566/?Action=ListQueues&Version=1"),
        signed(auth=SigV4QueryAuth, method="GET", body=b"", token="a/session+token="),
        signed(auth=S3SigV4Auth, service="s3", url="http://localhost:4566/bucket/a%20b/../c"),
        signed(auth=S3SigV4QueryAuth, service="s3", method="PUT", body=b"", url="http://localhost:4566/bucket/key"),
    ],
)
def test_what_botocore_signs_is_accepted(request_: Request) -> None:
    assert verify(request_) == request_.body


@pytest.mark.parametrize(
    "change",
    [
        lambda request: request.headers.update({b"x-amz-target": b"AmazonSQS.DeleteQueue"}),
        lambda request: request.headers.update({b"host": b"elsewhere"}),
        lambda request: setattr(request, "body", b"[]"),
        lambda request: setattr(request, "path", "/other"),
        lambda request: setattr(request, "method", "PUT"),
        lambda request: setattr(request, "query", b"Action=DeleteQueue"),
    ],
)
def test_whatever_is_changed_on_the_way_is_noticed(change: Callable[[Request], None]) -> None:
    request = signed()
    change(request)
    with pytest.raises(AwsError, match="does not match the signature you provided") as refused:
        verify(request)
    assert (refused.value.query_code, refused.value.status) == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize(
    "date", ["Sat, 28 Nov 2026 10:00:00 GMT", "Sat, 28 Nov 2026 10:00:00 -0000", "20261128T100000Z"]
)
def test_the_date_may_be_that_of_http(date: str) -> None:
    headers = {b"authorization": HEADER.encode().replace(b"x-amz-date", b"date"), b"date": date.encode()}
    assert sigv4.read(Request("POST", "/", b"", headers, b""), {}).stamp == "20261128T100000Z"


def test_a_signature_of_any_bytes_is_only_wrong() -> None:
    request = signed()
    request.headers[b"authorization"] = request.headers[b"authorization"][:-1] + b"\xe9"
    with pytest.raises(AwsError, match="does not match"):
        verify(request)


def test_another_secret_is_not_accepted() -> None:
    with pytest.raises(AwsError, match="does not match"):
        verify(signed(), secret="another")


def test_a_body_that_is_not_what_its_signed_hash_says_is_noticed() -> None:
    request = signed(headers={"X-Amz-Content-SHA256": hashlib.sha256(b"{}").hexdigest()})
    request.body = b"[]"
    with pytest.raises(AwsError, match="does not match"):
        verify(request)


def test_a_signature_holds_for_fifteen_minutes_either_way() -> None:
    request = signed()
    verify(request, later=15 * MINUTE)
    verify(request, later=-15 * MINUTE)
    with pytest.raises(AwsError, match=r"Signature expired: \d{8}T\d{6}Z is now earlier than .* - 15 min\."):
        verify(request, later=15 * MINUTE + SECOND)
    with pytest.raises(AwsError, match=r"Signature not yet current: .* is still later than .* \+ 15 min\."):
        verify(request, later=-15 * MINUTE - SECOND)


def test_a_presigned_url_holds_for_as_long_as_it_says() -> None:
    request = signed(auth=SigV4QueryAuth, method="GET", body=b"")
    verify(request, later=3_600 * SECOND)
    with pytest.raises(AwsError, match="Signature expired"):
        verify(request, later=3_601 * SECOND)


HEADER = (
    "AWS4-HMAC-SHA256 Credential=K/20261128/eu-west-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab"
)


@pytest.mark.parametrize(
    ("headers", "query", "code", "said"),
    [
        ({}, b"", "MissingAuthenticationToken", "Request is missing Authentication Token"),
        ({"authorization": "Basic abc"}, b"", "IncompleteSignature", "requires 'Credential' parameter"),
        ({"authorization": HEADER}, b"", "IncompleteSignature", "requires existence of either a 'X-Amz-Date'"),
        ({"authorization": HEADER.replace("Signature=ab", "")}, b"", "IncompleteSignature", "'Signature' parameter"),
        (
            {"authorization": HEADER.replace("SHA256", "SHA1"), "x-amz-date": "20261128T000000Z"},
            b"",
            "IncompleteSignature",
            "Unsupported AWS 'algorithm'",
        ),
        (
            {"authorization": HEADER.replace("/sqs", ""), "x-amz-date": "20261128T000000Z"},
            b"",
            "IncompleteSignature",
            "exactly 5 slash-delimited elements",
        ),
        (
            {"authorization": HEADER.replace("host;", ""), "x-amz-date": "20261128T000000Z"},
            b"",
            "SignatureDoesNotMatch",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            {"authorization": HEADER, "x-amz-date": "20261128T000000Z", "x-amz-target": "AmazonSQS.SendMessage"},
            b"",
            "SignatureDoesNotMatch",
            "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        ({}, b"X-Amz-Signature=ab", "IncompleteSignature", "must include 'X-Amz-Credential'"),
    ],
)
def test_what_is_missing_is_named(headers: dict[str, str], query: bytes, code: str, said: str) -> None:
    request = Request("POST", "/", query, {name.encode(): value.encode() for name, value in headers.items()}, b"")
    with pytest.raises(AwsError) as refused:
        sigv4.read(request, form.decode(query))
    assert refused.value.query_code == code
    assert said in refused.value.message


def test_the_scope_must_be_of_the_day_it_was_signed() -> None:
    headers = {b"authorization": HEADER.encode(), b"x-amz-date": b"20261127T000000Z"}
    with pytest.raises(AwsError, match="Date in Credential scope does not match"):
        verify(Request("POST", "/", b"", headers, b""))


def streamed() -> Request:
    """The example of AWS's documentation of streamed uploads: 65 KiB in two chunks."""
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
        "x-amz-decoded-content-length;x-amz-storage-class,"
        "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    )
    headers = {
        "host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "authorization": authorization,
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "content-length": "66824",
    }
    chunks = (
        (65_536, b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1_024, b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    )
    body = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (size, signature, b"a" * size) for size, signature in chunks)
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    return Request("PUT", "/examplebucket/chunkObject.txt", b"", raw, body)


EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_a_streamed_body_is_verified_chunk_by_chunk_and_put_together() -> None:
    assert verify(streamed(), EXAMPLE_SECRET) == b"a" * 66_560


def test_a_streamed_body_that_is_changed_on_the_way_is_noticed() -> None:
    request = streamed()
    request.body = request.body.replace(b"aaa", b"aab", 1)
    with pytest.raises(AwsError, match="does not match"):
        verify(request, EXAMPLE_SECRET)


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[: body.rindex(b"0;chunk")],
        lambda body: body[:-1],
        lambda body: body + b"more",
        lambda body: b"",
        lambda body: body.replace(b"400;", b"3ff;"),
        lambda body: body.replace(b"400;", b"4000;"),
    ],
)
def test_a_streamed_body_that_is_not_whole_is_refused(damage: Callable[[bytes], bytes]) -> None:
    request = streamed()
    request.body = damage(request.body)
    with pytest.raises(AwsError, match="terminated unexpectedly") as refused:
        verify(request, EXAMPLE_SECRET)
    assert (refused.value.code, refused.value.status) == ("IncompleteBody", 400)


def test_a_streamed_body_has_the_length_that_was_said() -> None:
    request = streamed()
    request.headers[b"x-amz-decoded-content-length"] = b"66561"
    with pytest.raises(AwsError, match="terminated unexpectedly"):
        verify(request, EXAMPLE_SECRET)

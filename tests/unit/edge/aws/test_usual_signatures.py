"""What the cheap check must leave to the general one: each oddity alone, in a request that is fine but for it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from broker.base.instants import MINUTE, WallMillis
from broker.edge.aws import sigv4
from broker.edge.aws.contract import AwsError, Caller
from broker.edge.aws.protocol import form
from broker.edge.aws.request import Request
from broker.edge.aws.signing_keys import SigningKey
from broker.edge.aws.usual_signatures import UsualSignatures
from tests.unit.edge.aws.signing import KEY

SECRET = KEY.secret
SCOPE = "20261128/eu-west-1/sqs/aws4_request"
NOW = sigv4.instant("20261128T235500Z")
COVERED = ("content-type", "host", "x-amz-date", "x-amz-target")


def signed(covered: tuple[str, ...] = COVERED, payload_hash: str = "", **headers: str) -> Request:
    """Signed over exactly these bytes, without any of the rules by which values are trimmed."""
    headers = {"content_type": "a/b", "host": "h", "x_amz_date": "20261128T235500Z", "x_amz_target": "T.O", **headers}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}:{sent[name]}" for name in covered]
    names = ";".join(covered)
    canonical = "\n".join(("POST", "/", "", *lines, "", names, payload_hash or sha256(b"{}").hexdigest()))
    made = sigv4.sign(SigningKey(SECRET, SCOPE), sent["x-amz-date"], SCOPE, canonical.encode("latin-1"))
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{SCOPE}, SignedHeaders={names}, Signature={made.decode()}"
    )
    raw = {name.encode(): value.encode("latin-1") for name, value in sent.items()}
    return Request("POST", "/", b"", raw, b"{}")


def general(request: Request, now: WallMillis) -> bool:
    try:
        signature = sigv4.read(request, form.decode(request.query))
        sigv4.verify(request, signature, SigningKey(SECRET, SCOPE), now)
    except AwsError:
        return False
    return not signature.token


def learn(usual: UsualSignatures, request: Request) -> None:
    caller = Caller("123456789012", "eu-west-1")
    usual.learn(request, sigv4.read(request, {}), "sqs", KEY, SigningKey(SECRET, SCOPE), caller)


def cheap(request: Request, now: WallMillis, like: Request) -> bool:
    """After a request like this one was accepted."""
    usual = UsualSignatures()
    learn(usual, like)
    found = usual.recognise(request)
    return found is not None and usual.accepts(request, found, now)


def test_a_request_like_the_one_before_is_accepted() -> None:
    request = signed(x_amz_date="20261128T235501Z", x_amz_target="T.P")
    assert cheap(request, NOW, like=signed())
    assert general(request, NOW)


def with_(change: Callable[[Request], object], request: Request) -> Request:
    change(request)
    return request


UNSIGNED_TARGET = ("host", "x-amz-date")


@pytest.mark.parametrize(
    ("request_", "like"),
    [
        (with_(lambda request: setattr(request, "method", "GET"), signed()), signed()),
        (with_(lambda request: setattr(request, "path", "/a"), signed()), signed()),
        (with_(lambda request: setattr(request, "query", b"a=b"), signed()), signed()),
        (with_(lambda request: setattr(request, "body", b"[]"), signed()), signed()),
        (with_(lambda request: request.headers.pop(b"content-type"), signed()), signed()),
        (with_(lambda request: request.headers.update({b"x-amz-target": b"T.P"}), signed()), signed()),
        (with_(lambda request: request.headers.update({b"x-amz-security-token": b"t"}), signed()), signed()),
        (with_(lambda request: request.headers.update({b"x-amz-content-sha256": b"0" * 64}), signed()), signed()),
        (signed(payload_hash="0" * 64, x_amz_content_sha256="0" * 64), signed()),
        (signed(content_type="a  b"), signed()),
        (signed(content_type=" a"), signed()),
        (signed(x_amz_date="20261129T000000Z"), signed()),
        (signed(x_amz_date="20261128T239900Z"), signed()),
        (signed(x_amz_date="20261128T235500"), signed()),
        (signed(covered=UNSIGNED_TARGET), signed(covered=COVERED)),
    ],
)
def test_what_the_general_check_refuses_is_not_accepted(request_: Request, like: Request) -> None:
    assert not general(request_, NOW)
    assert not cheap(request_, NOW, like)


def test_a_target_that_is_not_signed_is_not_accepted_after_requests_that_had_none() -> None:
    like, request = signed(covered=UNSIGNED_TARGET), signed(covered=UNSIGNED_TARGET)
    del like.headers[b"x-amz-target"]
    assert cheap(like, NOW, like)
    assert not cheap(request, NOW, like)


@pytest.mark.parametrize(
    ("later", "holds"), [(15 * MINUTE, True), (-15 * MINUTE, True), (15 * MINUTE + 1, False), (-15 * MINUTE - 1, False)]
)
def test_time_is_judged_alike(later: int, holds: bool) -> None:
    now = WallMillis(NOW + later)
    assert general(signed(), now) is holds
    assert cheap(signed(), now, like=signed()) is holds


def test_what_is_odd_and_right_is_left_to_the_general_check() -> None:
    hashed = signed(x_amz_content_sha256=sha256(b"{}").hexdigest())
    assert cheap(hashed, NOW, like=signed())
    unsigned = signed(payload_hash="UNSIGNED-PAYLOAD", x_amz_content_sha256="UNSIGNED-PAYLOAD")
    assert general(unsigned, NOW)
    assert not cheap(unsigned, NOW, like=signed())


def test_a_request_over_one_header_is_never_a_usual_one() -> None:
    assert general(signed(("host",), x_amz_target="T.P"), NOW) is False
    like = signed(("host",))
    del like.headers[b"x-amz-target"]
    assert general(like, NOW)
    assert not cheap(like, NOW, like)


def test_names_of_headers_may_hold_anything() -> None:
    covered = ("host", "x-amz-date", "x-amz-target", "x-%b")
    assert cheap(signed(covered, **{"x-%b": "%b"}), NOW, like=signed(covered, **{"x-%b": "1"}))


def test_clients_without_end_are_not_remembered_without_end() -> None:
    usual = UsualSignatures()
    for number in range(3_000):
        request = signed()
        authorization = request.headers[b"authorization"].replace(b"AKIDEXAMPLE", b"AKID%d" % number)
        request.headers[b"authorization"] = authorization
        learn(usual, request)
    for minute in range(6_000):
        stamp = f"20261128T{minute % 24:02}{minute % 60:02}{minute // 100:02}Z"
        request.headers[b"x-amz-date"] = stamp.encode()
        found = usual.recognise(request)
        assert found is not None
        usual.accepts(request, found, WallMillis(NOW + 60 * MINUTE))
        request.headers[b"content-type"] = b"a/%d" % minute
    assert len(usual._known) <= 1_024
    assert len(usual._plain) <= 4_096 + 4
    assert len(usual._instants) <= 4_096

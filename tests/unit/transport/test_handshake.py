"""Who is refused, in which words; and that the words cannot be broken by a stranger."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.transport import handshake
from broker.transport.decoding import Malformed
from broker.transport.handshake import (
    Closing,
    Forgetful,
    Hello,
    Identity,
    Life,
    Refused,
    Side,
    greeting,
    objection,
    recollection,
)

ME = Identity("production", "b-0", (2, 5))


def hello(**changes: object) -> Hello:
    good = Hello(major=2, minor=5, cluster="production", node="a-0", to="b-0", purpose="control")
    return msgspec.structs.replace(good, **changes)


@pytest.mark.parametrize("changes", [{}, {"minor": 9}, {"minor": 0}, {"major": 1}, {"purpose": "bulk"}])
def test_a_known_node_of_the_same_or_an_older_major_version_is_welcome(changes: dict[str, object]) -> None:
    assert objection(hello(**changes), ME, {"a-0", "c-0"}, "accepting", None) is None


@pytest.mark.parametrize(
    ("changes", "code", "advice"),
    [
        ({"cluster": "staging"}, "wrong-cluster", "'staging'.*check the addresses and the cluster name"),
        ({"major": 3}, "newer-version", "speaks protocol 3.5.*only up to major 2: upgrade b-0 first"),
        ({"to": "c-0"}, "wrong-node", "looks for c-0, this is b-0: check the address of c-0"),
        ({"node": "x-9"}, "unknown-node", "does not expect x-9: add x-9 to the cluster"),
        ({"node": "b-0"}, "unknown-node", "give it its own node id"),
        ({"node": "c-0"}, "wrong-direction", "the smaller node id dials: c-0 must wait"),
    ],
)
def test_refusals_name_what_is_wrong_and_what_to_do(changes: dict[str, object], code: str, advice: str) -> None:
    refused = objection(hello(**changes), ME, {"a-0", "b-0", "c-0"}, "accepting", None)
    assert refused is not None
    assert refused.code == code
    assert re.search(advice, refused.reason)


def test_bulk_connections_may_be_dialled_by_either_side() -> None:
    assert objection(hello(node="c-0", purpose="bulk"), ME, {"c-0"}, "accepting", None) is None


def test_the_dialling_side_accepts_the_answer_of_the_larger_node() -> None:
    assert objection(hello(node="c-0"), ME, {"c-0"}, "dialling", None) is None
    refused = objection(hello(node="d-0"), ME, {"c-0"}, "dialling", None)
    assert refused is not None
    assert refused.code == "unknown-node"


@pytest.mark.parametrize("side", ["dialling", "accepting"])
@pytest.mark.parametrize(("certified", "welcome"), [({"a-0"}, True), ({"x-0"}, False), (set(), False)])
def test_a_certificate_must_name_the_node(side: Side, certified: set[str], welcome: bool) -> None:
    refused = objection(hello(), ME, {"a-0"}, side, certified)
    assert (refused is None) is welcome
    assert welcome or "issue one with the DNS name a-0" in refused.reason


def test_messages_travel() -> None:
    greeted = greeting(ME, "c-0", "bulk", Life("one", 3, "p"))
    assert handshake.decode_hello(handshake.encode(greeted)) == greeted
    refused = Refused("wrong-node", "this is b-0")
    assert handshake.decode_refused(handshake.encode(refused)) == refused
    closing = Closing(True, "stopping")
    assert handshake.decode_closing(handshake.encode(closing)) == closing


def test_fields_that_a_newer_version_added_are_skipped() -> None:
    longer = msgspec.msgpack.encode(
        [2, 5, "production", "a-0", "b-0", "control", ["one", 3, "p", 7], ["two", 1, "q"], {"zone": "a"}]
    )
    assert handshake.decode_hello(longer) == hello(life=Life("one", 3, "p"), remembered=Life("two", 1, "q"))


@given(st.binary(max_size=200))
def test_any_other_bytes_are_malformed_and_nothing_worse(payload: bytes) -> None:
    for decode in (handshake.decode_hello, handshake.decode_refused, handshake.decode_closing):
        try:
            decode(payload)
        except Malformed:
            continue


@pytest.mark.parametrize("decode", [handshake.decode_hello, handshake.decode_refused, handshake.decode_closing])
@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1 never valid",
        b"\x92\x00\x00",
        b"\x96\x00\x00\xa1\x80\xa1\x80\xa1\x80\xa1\x80",
        b"\x92\xa1\x80\xa1\x80",
        b"\x92\xc2\xa1\x80",
        b"\x91" * 4_000,
        b"\x97\x01\x01\xa1a\xa1b\xa1c\xa4bulk" + b"\x91" * 4_000,
        b"\x93\xa1a\xa1a" + b"\x91" * 4_000,
    ],
    ids=[
        "bytes",
        "types",
        "text of hello",
        "text of refusal",
        "text of closing",
        "nested",
        "deep hello",
        "deep refusal",
    ],
)
def test_what_is_not_a_message_is_malformed(decode: Callable[[bytes], object], payload: bytes) -> None:
    with pytest.raises(Malformed):
        decode(payload)


def test_reasons_of_a_stranger_are_cut() -> None:
    long = "x" * 10_000
    assert len(handshake.decode_refused(handshake.encode(Refused(long, long))).reason) == 500
    assert len(handshake.decode_closing(handshake.encode(Closing(False, long))).reason) == 500


class Rememberer(Forgetful):
    """Takes nobody for who it says it is, and does not remember what others do."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def objection(self, node: str, life: Life) -> str | None:
        return f"start {life.boot} of {node} was seen long ago"

    def own_objection(self, by: str, remembered: Life) -> str | None:
        return f"{by} has met start {remembered.boot}"

    def disowned(self, reason: str) -> None:
        self.reasons.append(reason)


def test_who_shows_an_old_life_is_refused_and_who_shows_none_is_of_an_older_version() -> None:
    old = recollection(hello(life=Life("one", 3, "p")), Rememberer())
    assert old == Refused("old-copy", "start 3 of a-0 was seen long ago")
    assert recollection(hello(), Rememberer()) is None
    assert recollection(hello(life=Life("one", 3, "p")), Forgetful()) is None


def test_who_does_not_remember_what_the_other_has_met_refuses_itself() -> None:
    rememberer = Rememberer()
    refused = recollection(hello(remembered=Life("one", 4, "q")), rememberer)
    assert refused == Refused("self-old-copy", "a-0 has met start 4")
    assert rememberer.reasons == ["a-0 has met start 4"]


def test_a_hello_of_a_version_before_lives_were_told_is_understood() -> None:
    before = msgspec.msgpack.encode([2, 5, "production", "a-0", "b-0", "control"])
    assert handshake.decode_hello(before) == hello()

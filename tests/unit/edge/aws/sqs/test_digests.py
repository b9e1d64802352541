"""Digests against values that SQS itself was seen to answer."""

from __future__ import annotations

from broker.domain.queues.model import Attribute
from broker.edge.aws.sqs import digests


def test_the_digest_of_a_body() -> None:
    assert digests.of_body(b"test") == "098f6bcd4621d373cade4e832627b4f6"


def test_the_digest_of_attributes_does_not_depend_on_their_order() -> None:
    hello = Attribute("Hello", "String", b"There")
    general = Attribute("General", "String", b"Kenobi")
    help_me = Attribute("Help.Me", "String", b"Me")
    assert digests.of_attributes([hello, general, help_me]) == "4c360f3fdafd970e05fae2f149d997f5"
    assert digests.of_attributes([general, hello]) == "fca026605781cb4126a1e9044df24232"
    assert digests.of_attributes([hello]) == "a311262e065454b75da111d535b8dacd"
    assert digests.of_attributes([help_me, hello]) == "83fee93c1bcd8b9a5a923ffacdc636c7"


def test_the_digest_of_a_binary_attribute() -> None:
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
    assert digests.of_attributes([Attribute("attr1", "Binary", value)]) == "8cbe4db156db8a94db8b801b7addb984"

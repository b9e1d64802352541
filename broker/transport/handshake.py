"""The handshake: who may talk to whom, and what a refusal says. Pure: judges facts, sends nothing.

The dialling side says Hello, the accepting side answers with its own, the dialling side confirms with Ready; whoever
objects says Refused and closes. Both sides log the same words. New fields go to the end of a struct: readers skip what
they do not know.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Literal, Protocol

import msgspec

from broker.transport.decoding import decoded

Purpose = Literal["control", "bulk"]
Side = Literal["dialling", "accepting"]
Version = tuple[int, int]
"""Major and minor of the protocol between nodes."""

HELLO_LIMIT = 4096
"""Bytes of the longest frame that is accepted from somebody not yet known."""
REASON_LIMIT = 500
"""Characters kept of a reason that the other side gives."""


OLD_COPY = "old-copy"
"""Code of the refusal of a node whose data directory is not the newest that was met under its name."""
SELF_OLD_COPY = "self-old-copy"
"""Code of the refusal by a node that learns from the other that its own data directory is an old copy."""


UNKNOWN_NODE = "unknown-node"
"""Code of the refusal of a node that is no member of the cluster."""


class Life(msgspec.Struct, frozen=True, array_like=True):
    """Which data a node has, and which process it is. ``incarnation``: new for every data directory that began empty;
    ``boot``: how often that directory was started; ``process``: new at every start. Empty: not told."""

    incarnation: str = ""
    boot: int = 0
    process: str = ""


class Identity(msgspec.Struct, frozen=True):
    """Who this node is to others."""

    cluster: str
    node: str
    version: Version
    life: Life = Life()


class Acquaintances(Protocol):
    """What this node remembers of the others' lives."""

    def remembered(self, node: str) -> Life:
        """The newest life of ``node`` that was met; an untold one if none was."""

    def met(self, node: str, life: Life) -> None:
        """``node`` has been admitted in this life."""

    def objection(self, node: str, life: Life) -> str | None:
        """Why this cannot be ``node``, in words for its operator; None: it can."""

    def own_objection(self, by: str, remembered: Life) -> str | None:
        """Why this node's own data cannot be what ``by`` has met, in words for its operator; None: it can."""

    def disowned(self, reason: str) -> None:
        """This node's data directory is an old copy."""

    def refused(self, by: str, code: str, reason: str) -> None:
        """``by`` does not talk to this node."""


class Forgetful:
    """Remembers nobody, and has nothing to be an old copy of."""

    def remembered(self, node: str) -> Life:  # noqa: ARG002
        return Life()

    def met(self, node: str, life: Life) -> None:
        """It is forgotten."""

    def objection(self, node: str, life: Life) -> str | None:  # noqa: ARG002
        return None

    def own_objection(self, by: str, remembered: Life) -> str | None:  # noqa: ARG002
        return None

    def disowned(self, reason: str) -> None:
        """Nothing is at stake."""

    def refused(self, by: str, code: str, reason: str) -> None:
        """It is forgotten."""


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """``to`` is the node the speaker believes to talk to, ``remembered`` the newest life of that one it has met."""

    major: int
    minor: int
    cluster: str
    node: str
    to: str
    purpose: Purpose
    life: Life = Life()
    remembered: Life = Life()


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """``code`` is stable and for machines, ``reason`` tells people what to do."""

    code: str
    reason: str


class Closing(msgspec.Struct, frozen=True, array_like=True):
    """Said before an orderly close. ``stopping``: the speaker's process ends, not only this connection. ``code``: as of
    a refusal, where what was said in the handshake does not hold any more."""

    stopping: bool
    reason: str
    code: str = ""


_encoder = msgspec.msgpack.Encoder()
_hello = msgspec.msgpack.Decoder(Hello)
_refused = msgspec.msgpack.Decoder(Refused)
_closing = msgspec.msgpack.Decoder(Closing)


def encode(message: Hello | Refused | Closing) -> bytes:
    return _encoder.encode(message)


def decode_hello(payload: bytes) -> Hello:
    """Raises Malformed."""
    return decoded(_hello, payload, "a Hello")


def decode_refused(payload: bytes) -> Refused:
    """The reason is cut to a bearable length. Raises Malformed."""
    refused = decoded(_refused, payload, "a refusal")
    return Refused(refused.code[:REASON_LIMIT], refused.reason[:REASON_LIMIT])


def decode_closing(payload: bytes) -> Closing:
    """The reason is cut to a bearable length. Raises Malformed."""
    closing = decoded(_closing, payload, "a closing")
    return Closing(closing.stopping, closing.reason[:REASON_LIMIT], closing.code[:REASON_LIMIT])


def greeting(me: Identity, to: str, purpose: Purpose, remembered: Life) -> Hello:
    return Hello(me.version[0], me.version[1], me.cluster, me.node, to, purpose, me.life, remembered)


def objection(
    hello: Hello, me: Identity, known: Container[str], side: Side, certified: Container[str] | None
) -> Refused | None:
    """Why ``me`` will not talk to who sent ``hello``, or None.

    ``known``: nodes that may be there; the one expected, on the dialling side. ``side`` is ours. ``certified``: node
    ids that the certificate speaks for, None where certificates are not used or need not name the node. A peer of an
    older major version is accepted: it is for the newer side to speak the older one's language, or to refuse.
    """
    major = me.version[0]
    if hello.cluster != me.cluster:
        return Refused(
            "wrong-cluster",
            f"node {me.node} belongs to cluster {me.cluster!r}, {hello.node} to {hello.cluster!r}: "
            "check the addresses and the cluster name in its configuration",
        )
    if hello.major > major:
        return Refused(
            "newer-version",
            f"{hello.node} speaks protocol {hello.major}.{hello.minor}, node {me.node} only up to major {major}: "
            f"upgrade {me.node} first",
        )
    if hello.to != me.node:
        return Refused(
            "wrong-node",
            f"{hello.node} looks for {hello.to}, this is {me.node}: check the address of {hello.to}",
        )
    if hello.node == me.node or hello.node not in known:
        return Refused(
            UNKNOWN_NODE,
            f"node {me.node} does not expect {hello.node}: add {hello.node} to the cluster, or give it its own node id",
        )
    if certified is not None and hello.node not in certified:
        return Refused(
            "wrong-certificate",
            f"the certificate of {hello.node} does not name it: issue one with the DNS name {hello.node}",
        )
    if side == "accepting" and hello.purpose == "control" and hello.node > me.node:
        return Refused(
            "wrong-direction",
            f"between {me.node} and {hello.node} the smaller node id dials: {hello.node} must wait to be called",
        )
    return None


def recollection(hello: Hello, acquaintances: Acquaintances) -> Refused | None:
    """What speaks against talking to one another for what was met before; asked when nothing else does. A node that
    does not tell its life is of a version before lives were told."""
    own = acquaintances.own_objection(hello.node, hello.remembered) if hello.remembered.incarnation else None
    if own is not None:
        acquaintances.disowned(own)
        return Refused(SELF_OLD_COPY, own)
    reason = acquaintances.objection(hello.node, hello.life) if hello.life.incarnation else None
    return None if reason is None else Refused(OLD_COPY, reason)

"""MD5 digests as SDKs compute them from what they sent and received, to detect damage on the way.

Amazon SQS Developer Guide, "Calculating the MD5 message digest for message attributes".
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from struct import pack

from broker.domain.queues.model import Attribute

_TEXT, _BINARY = b"\x01", b"\x02"


def of_body(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()


def of_attributes(attributes: Sequence[Attribute]) -> str:
    """By name, ascending: name, type and value, each with its length before it."""
    digest = md5(usedforsecurity=False)
    for attribute in sorted(attributes, key=_name):
        for part in (attribute.name.encode(), attribute.type.encode()):
            digest.update(pack(">I", len(part)) + part)
        kind = _BINARY if attribute.type.startswith("Binary") else _TEXT
        digest.update(kind + pack(">I", len(attribute.value)) + attribute.value)
    return digest.hexdigest()


def _name(attribute: Attribute) -> str:
    return attribute.name

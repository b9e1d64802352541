"""Bytes from the network into messages: whatever may be wrong with them is one error, ``Malformed``."""

from __future__ import annotations

from typing import TypeVar

import msgspec

Message = TypeVar("Message")


class Malformed(Exception):
    """Bytes that are not the message they should be: the connection cannot go on."""


def decoded(decoder: msgspec.msgpack.Decoder[Message], payload: bytes | memoryview, expected: str) -> Message:
    """``expected`` names the message for people. Raises Malformed."""
    try:
        return decoder.decode(payload)
    # msgspec lets two errors of Python's own through: for text that is not UTF-8, and for nesting without end.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not {expected}: {error}") from error

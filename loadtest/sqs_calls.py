"""SQS calls in JSON over raw sockets, for load: an SDK spends more on a call than the brokers do."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import msgspec

from broker.base.addresses import split_address

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SCOPE = "test/20260101/us-east-1/sqs/aws4_request"
_END = b"\r\n\r\n"


class CallError(Exception):
    """The answer was not 200; the message quotes it."""


class LaterError(CallError):
    """503: the node has too much to do, or no leader; the same call may succeed later."""


class SqsConnection:
    """One connection, kept alive; one call at a time. Asynchronous context manager."""

    def __init__(self, address: str) -> None:
        """``address``: host:port of a node's AWS port."""
        self._address = address
        self._heads: dict[str, str] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        host, port = split_address(self._address)
        self._streams = await asyncio.open_connection(host, port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._streams is not None:
            self._streams[1].close()

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        """Raises CallError."""
        assert self._streams is not None, "it is used outside its context"
        reader, writer = self._streams
        content = _encode(members)
        writer.write(f"{self._head(operation)}{len(content)}\r\n\r\n".encode() + content)
        head = (await reader.readuntil(_END)).decode("latin-1")
        answer = await reader.readexactly(length_in(head))
        if " 200 " not in head[:15]:
            kind = LaterError if " 503 " in head[:15] else CallError
            raise kind(f"{operation}: {head.partition(chr(13))[0]} {answer[:300].decode(errors='replace')}")
        found: dict[str, Any] = _decode(answer) if answer else {}
        return found

    def _head(self, operation: str) -> str:
        head = self._heads.get(operation)
        if head is None:
            head = self._heads[operation] = (
                f"POST / HTTP/1.1\r\nHost: {self._address}\r\nX-Amz-Target: AmazonSQS.{operation}\r\n"
                f"Authorization: AWS4-HMAC-SHA256 Credential={_SCOPE}, SignedHeaders=host, Signature=0\r\n"
                "Content-Type: application/x-amz-json-1.0\r\nContent-Length: "
            )
        return head


def length_in(head: str) -> int:
    """What the head of a response says of its body."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0

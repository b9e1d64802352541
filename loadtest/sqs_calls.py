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


class SqsConnection(asyncio.Protocol):
    """One connection, kept alive; one call at a time. Asynchronous context manager."""

    def __init__(self, address: str) -> None:
        """``address``: host:port of a node's AWS port."""
        self._address = address
        self._heads: dict[str, str] = {}
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[str, bytes]] | None = None
        self._read = b""

    async def __aenter__(self) -> Self:
        host, port = split_address(self._address)
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        self._transport = transport
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        """Raises CallError."""
        assert self._transport is not None, "it is used outside its context"
        if self._transport.is_closing():
            raise CallError(f"{self._address} has hung up")
        content = _encode(members)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(f"{self._head(operation)}{len(content)}\r\n\r\n".encode() + content)
        head, answer = await self._answer
        if " 200 " not in head[:15]:
            kind = LaterError if " 503 " in head[:15] else CallError
            raise kind(f"{operation}: {head.partition(chr(13))[0]} {answer[:300].decode(errors='replace')}")
        found: dict[str, Any] = _decode(answer) if answer else {}
        return found

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, rest = self._read.partition(_END)
        if not found:
            return
        text = head.decode("latin-1")
        if len(rest) >= length_in(text):
            self._read = b""
            self._settle(text, rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallError(f"{self._address} hung up: {exc}"))

    def _settle(self, head: str, answer: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((head, answer))

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

"""Lean SQS calls: what a response's head says, and answers that are refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loadtest.sqs_calls import CallError, LaterError, SqsConnection, length_in


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[SqsConnection, list[bytes]]]:
    """A connection to a server that gives these answers, one for each call, and what the server was sent."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head + await reader.readexactly(length_in(head.decode())))
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, SqsConnection(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as call:
        yield call, heard


async def test_a_call_is_made_in_json_and_its_answer_read() -> None:
    full, empty = b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"Body":"x"}', b"HTTP/1.1 200 OK\r\n\r\n"
    async with answering(full, empty) as (call, heard):
        assert await call("ReceiveMessage", QueueUrl="u") == {"Body": "x"}
        assert await call("PurgeQueue", QueueUrl="u") == {}
    assert heard[0].endswith(b'\r\n\r\n{"QueueUrl":"u"}')
    assert b"\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n" in heard[0]


@pytest.mark.parametrize(("status", "kind"), [(b"400 Bad", CallError), (b"503 Busy", LaterError)])
async def test_refusals_are_raised(status: bytes, kind: type[CallError]) -> None:
    async with answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno") as (call, _):
        with pytest.raises(CallError, match=r"SendMessage: .* no") as caught:
            await call("SendMessage")
    assert type(caught.value) is kind

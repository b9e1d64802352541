"""What a request costs at the AWS port alone, before any queue: python -m loadtest.http prints a table.

The real server, routing, codecs and models, in a process of its own; the operations answer at once. Clients are raw
sockets, kept alive, one request at a time each, with the headers that boto3 sends. CPU is the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
from rich.console import Console
from rich.table import Table

from broker.aio.runner import run
from broker.aio.system_clock import SystemClock
from broker.aio.tasks import TaskScope
from broker.base.instants import SECOND, Millis
from broker.domain.identity.commands import AccessKey
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Credential, Request
from broker.edge.aws.server import AwsServer, AwsServerSettings
from broker.edge.aws.signing_keys import SigningKey
from broker.edge.aws.sigv4 import Signature, canonical_request, sign
from broker.telemetry.metrics import Registry
from loadtest import cpu
from loadtest.figures import load_average

CONNECTIONS = 64
BODY = "x" * 1_024
URL = "http://127.0.0.1:4566/000000000000/orders"
KEY = AccessKey("AKIAQWERTYUIOPASDFGH", "s" * 40, "000000000000")
_MD5 = "0123456789abcdef0123456789abcdef"
_ID = "00000000-0000-0000-0000-000000000000"
_SENT = {"MD5OfMessageBody": _MD5, "MessageId": _ID}
_RECEIVED = {"MessageId": _ID, "ReceiptHandle": "h" * 80, "MD5OfBody": _MD5, "Body": BODY}
_ENTRIES = [{"Id": str(number), "MessageBody": BODY} for number in range(10)]
_SCOPE = "AKIDEXAMPLE/20261128/us-east-1/sqs/aws4_request"
_ALWAYS = (
    f"Host: 127.0.0.1:4566\r\nAccept-Encoding: identity\r\nUser-Agent: {'Boto3/1.44.8 md/Botocore#1.44.8 ' * 4}\r\n"
    "X-Amz-Date: 20261128T100000Z\r\namz-sdk-invocation-id: 00000000-0000-0000-0000-000000000000\r\n"
    "amz-sdk-request: attempt=1\r\n"
    f"Authorization: AWS4-HMAC-SHA256 Credential={_SCOPE}, SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
    f"Signature={'0' * 64}\r\n"
)


class Case(msgspec.Struct, frozen=True):
    """``bare``: the server alone, without an app. ``checked``: its signature is a good one, and checked."""

    name: str
    request: bytes
    bare: bool = False
    checked: bool = False


def json_request(operation: str, members: dict[str, Any]) -> bytes:
    body = msgspec.json.encode(members)
    head = (
        f"POST / HTTP/1.1\r\n{_ALWAYS}X-Amz-Target: AmazonSQS.{operation}\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def query_request(fields: dict[str, str]) -> bytes:
    body = urlencode({**fields, "Version": "2012-11-05"}).encode()
    head = (
        f"POST / HTTP/1.1\r\n{_ALWAYS}Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def signed(request: bytes) -> bytes:
    """The same request, signed now by KEY."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = {name.lower(): value for name, value in lines}
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers[b"x-amz-date"] = stamp.encode()
    credential = Credential(KEY.id, stamp[:8], "us-east-1", "sqs")
    names = (b"content-type", b"host", b"x-amz-date", b"x-amz-target")
    signature, payload_hash = Signature(credential, names, b"", stamp), sha256(body).hexdigest().encode()
    canonical = canonical_request(Request("POST", "/", b"", headers, body), signature, payload_hash)
    made = sign(SigningKey(KEY.secret, credential.scope), stamp, credential.scope, canonical)
    headers[b"authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY.id}/{credential.scope}, SignedHeaders={b';'.join(names).decode()}, "
        f"Signature={made.decode()}"
    ).encode()
    return b"POST / HTTP/1.1\r\n%b\r\n\r\n%b" % (b"\r\n".join(b"%b: %b" % each for each in headers.items()), body)


SEND = json_request("SendMessage", {"QueueUrl": URL, "MessageBody": BODY})
CASES = (
    Case("HTTP alone, 1 KiB", SEND, bare=True),
    Case("SendMessage, JSON, 1 KiB", SEND),
    Case("the same, signature checked", signed(SEND), checked=True),
    Case("ReceiveMessage, JSON, 1 KiB", json_request("ReceiveMessage", {"QueueUrl": URL})),
    Case("DeleteMessage, JSON", json_request("DeleteMessage", {"QueueUrl": URL, "ReceiptHandle": "h" * 80})),
    Case("SendMessageBatch of 10, JSON", json_request("SendMessageBatch", {"QueueUrl": URL, "Entries": _ENTRIES})),
    Case("SendMessage, query", query_request({"Action": "SendMessage", "QueueUrl": URL, "MessageBody": BODY})),
    Case("ReceiveMessage, query", query_request({"Action": "ReceiveMessage", "QueueUrl": URL})),
)


class AtOnce:
    """SQS whose operations have nothing to do."""

    name = "sqs"

    def operations(self) -> Mapping[str, Operation]:
        batch = {"Successful": [{"Id": str(n), "MD5OfMessageBody": _MD5, "MessageId": _ID} for n in range(10)]}
        answers: dict[str, dict[str, Any]] = {
            "SendMessage": _SENT,
            "ReceiveMessage": {"Messages": [_RECEIVED]},
            "DeleteMessage": {},
            "SendMessageBatch": {**batch, "Failed": []},
        }
        return {name: self._answering(answer) for name, answer in answers.items()}

    @staticmethod
    def _answering(output: dict[str, Any]) -> Operation:
        async def operation(_context: Context, _members: dict[str, Any]) -> dict[str, Any]:
            return output

        return operation


class OneKey:
    """All access keys that there are."""

    def known(self, identity: str) -> AccessKey | None:
        return KEY if identity == KEY.id else None

    async def find(self, identity: str, _deadline: Millis) -> AccessKey | None:
        return self.known(identity)


async def _bare(_request: Request) -> Document:
    return Document(200, ((b"content-type", b"application/x-amz-json-1.0"),), b"{}")


async def _pause(duration: Millis) -> None:
    await asyncio.sleep(duration / SECOND)


def _fail(task_name: str, error: BaseException) -> None:
    raise SystemExit(f"{task_name} failed: {error}")


def serve(bare: bool, checked: bool, pipe: Connection) -> None:
    """The server's process: tells its port, and ends when the pipe does."""

    async def main(stop: asyncio.Event) -> int:
        registry, clock = Registry(), SystemClock()
        async with TaskScope("server", _fail) as scope:
            keys = OneKey() if checked else None
            app = App([AtOnce()], AppSettings(), clock, registry, os.urandom, lambda: None, keys=keys)
            answer = _bare if bare else app.answer
            server = AwsServer(AwsServerSettings("127.0.0.1:0"), answer, clock, scope, registry, _pause)
            await server.start()
            pipe.send(server.port)
            asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
            await stop.wait()
            await server.close()
        return 0

    run(main)


class Caller(asyncio.Protocol):
    """Sends the same request again as soon as it is answered, until nothing is left of ``budget``."""

    def __init__(self, request: bytes, budget: list[int], done: asyncio.Future[None]) -> None:
        self._request = request
        self._budget = budget
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._size:
            head, found, _ = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 200 " not in head[:15]:
                raise SystemExit(self._buffer[:500].decode("latin-1"))
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._size = len(head) + 4 + int(length)
        if len(self._buffer) >= self._size:
            self._buffer, self._size = b"", 0
            self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if self._budget[0] > 0:
            self._budget[0] -= 1
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def call(port: int, request: bytes, requests: int, connections: int) -> None:
    loop = asyncio.get_running_loop()
    budget = [requests]
    ends = [loop.create_future() for _ in range(connections)]
    for end in ends:
        await loop.create_connection(lambda end=end: Caller(request, budget, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)


def measure(case: Case, requests: int, connections: int) -> tuple[float, float]:
    """CPU and wall microseconds of a request."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(case.bare, case.checked, theirs))
    process.start()
    spent: list[float] = []

    async def main(_: asyncio.Event) -> int:
        port, pid = ours.recv(), process.pid
        assert pid is not None
        await call(port, case.request, requests // 10, connections)
        before, started = cpu.used_us(pid), time.perf_counter()
        await call(port, case.request, requests, connections)
        spent.extend((cpu.used_us(pid) - before, (time.perf_counter() - started) * 1e6))
        return 0

    run(main)
    ours.send(None)
    process.join()
    return spent[0] / requests, spent[1] / requests


def main() -> None:
    """Entry point of ``python -m loadtest.http``."""
    parser = argparse.ArgumentParser(description="CPU cost of a request at the AWS port, without queues")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    arguments = parser.parse_args()
    table = Table("request", "server CPU us", "wall us", title=load_average(), title_justify="left")
    for case in CASES:
        spent, wall = measure(case, arguments.requests, arguments.connections)
        table.add_row(case.name, f"{spent:.1f}", f"{wall:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

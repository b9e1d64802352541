"""The AWS port: whatever comes is answered in its protocol or dropped, nothing of it stays, and others are served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given
from hypothesis import strategies as st

from broker.aio.system_clock import SystemClock
from broker.base.instants import Millis
from broker.edge.aws.app import App, AppSettings
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.door import Limits
from broker.edge.aws.sts.service import StsService
from broker.telemetry.metrics import Registry
from tests.fuzz.examples import fewer
from tests.integration.aws.serving import Wire, connected, serving

SOON = Millis(1)
LIMITS = Limits(connections=20, head_size=2_000, body_size=5_000, idle=SOON, head=SOON, body=SOON, writing=SOON)
WELL = b"GET /livez HTTP/1.1\r\n\r\n"

NAMES = (
    *(b"Host", b"X-Amz-Target", b"Content-Type", b"Authorization", b"Content-Length", b"Transfer-Encoding", b"Expect"),
    *(b"Connection", b"Upgrade", b"X-Amz-Content-SHA256", b"Smithy-Protocol", b"\xff", b""),
)
VALUES = (
    *(b"AmazonSQS.SendMessage", b"AmazonSQS.", b"3", b"-1", b"99999999999999", b"chunked", b"100-continue", b"h2c"),
    *(
        b"upgrade",
        b"close",
        b"application/x-amz-json-1.0",
        b"application/x-amz-cbor-1.1",
        b"rpc-v2-cbor",
        b"AWS4-HMAC-SHA256 Credential=a/20260101/r/apigateway/aws4_request,",
        b"AWS4-HMAC-SHA256 Credential=a/20260101/r/sqs/aws4_request,",
    ),
)
BODIES = (
    *(b"", b"{}", b'{"QueueUrl": "q", "MessageBody": "x"}', b"0\r\n\r\n"),
    *(b"Action=SendMessage&QueueUrl=q&MessageBody=%F0%9F", b"\xa1\x68QueueUrl\x9b\x7f", b"\xbf\x68QueueUrl\x61q"),
)
names = st.sampled_from(NAMES)
values = st.sampled_from(VALUES) | st.binary(max_size=30)
bodies = st.sampled_from(BODIES) | st.binary(max_size=100)
targets = st.sampled_from(
    [
        *(b"/", b"/000000000000/q", b"/?Action=SendMessage", b"/?%FF=%", b"*", b"", b"http://x/"),
        *(b"/service/AmazonSQS/operation/SendMessage", b"/restapis/%FF", b"/restapis/a"),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"POST", b"GET", b"HEAD", b"PUT", b"CONNECT", b"get", b""]))
    lines = [b" ".join((method, draw(targets), draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""]))))]
    lines += [name + b": " + value for name, value in draw(st.lists(st.tuples(names, values), max_size=6))]
    body = draw(bodies)
    if draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@st.composite
def http2(draw: st.DrawFn) -> bytes:
    """Streams as they should be, cut or damaged somewhere."""
    client = H2Connection(H2Configuration())
    client.initiate_connection()
    for _ in range(draw(st.integers(1, 4))):
        stream = client.get_next_available_stream_id()
        headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
        client.send_headers(stream, [*headers, ("x-amz-target", "AmazonSQS.SendMessage")])
        client.send_data(stream, draw(bodies), end_stream=draw(st.booleans()))
        if draw(st.booleans()):
            client.reset_stream(stream)
    data = bytearray(client.data_to_send())
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


class Sqs:
    name = "sqs"

    def operations(self) -> Mapping[str, Operation]:
        return {"SendMessage": self._send}

    async def _send(self, _context: Context, members: dict[str, Any]) -> dict[str, Any]:
        return {"MessageId": members["MessageBody"]}


class Apis:
    """With paths of its own."""

    name = "apigateway"

    def operations(self) -> Mapping[str, Operation]:
        return {"GetRestApi": self._get}

    async def _get(self, _context: Context, members: dict[str, Any]) -> dict[str, Any]:
        return {"id": members["restApiId"]}


async def say(wire: Wire, said: bytes, hangs_up: bool) -> None:
    wire.send(said)
    if hangs_up:
        wire.hang_up()
        return
    while await wire.read():
        pass


anything = st.one_of(requests(), http2(), st.binary(max_size=100))


@fewer
@given(st.lists(st.tuples(anything, st.booleans()), min_size=1, max_size=6))
def test_whatever_comes_others_are_served_and_nothing_stays(said: list[tuple[bytes, bool]]) -> None:
    app = App([Sqs(), StsService(), Apis()], AppSettings(), SystemClock(), Registry(), os.urandom, lambda: None)

    async def scenario() -> None:
        async with serving(app.answer, LIMITS) as server, asyncio.timeout(30):
            # given strangers who say this, and hang up or wait for what comes
            for each, hangs_up in said:
                async with connected(server) as wire:
                    await say(wire, each, hangs_up)
            # then others are served, and all of it is gone
            async with connected(server) as wire:
                wire.send(WELL)
                assert (await wire.response())[0] == 200
            while server.connections or server.buffered:  # noqa: ASYNC110  # it takes some turns of the loop
                await asyncio.sleep(0)

    asyncio.run(scenario())

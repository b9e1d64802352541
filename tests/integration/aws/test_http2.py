from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from broker.base.instants import Millis
from broker.edge.aws.door import Limits
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from broker.edge.aws.server import AwsServer
from tests.integration.aws.serving import Wire, connected, serving

HEADERS = [(":method", "POST"), (":path", "/a?b=c"), (":scheme", "http"), (":authority", "here")]


class Client:
    """Speaks HTTP/2 over a wire; ``answers``: status and body by stream, of those that have ended."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.answers: dict[int, tuple[int, bytes]] = {}
        self.resets: set[int] = set()
        self._statuses: dict[int, int] = {}
        self._bodies: dict[int, bytes] = {}
        self.takes = True

    def ask(self, body: bytes, end: bool = True) -> int:
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, HEADERS)
        self.http.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def flush(self) -> None:
        self._wire.send(self.http.data_to_send())

    async def until_answered(self, *streams: int) -> list[tuple[int, bytes]]:
        async with asyncio.timeout(20):
            while not all(stream in self.answers or stream in self.resets for stream in streams):
                assert await self.read(), "the server has closed the connection"
        return [self.answers[stream] for stream in streams if stream in self.answers]

    async def read(self) -> bool:
        data = await self._wire.read()
        for event in self.http.receive_data(data):
            self._take(event)
        self.flush()
        return bool(data)

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self._statuses[event.stream_id] = int(dict(event.headers)[":status"])
            case DataReceived():
                self._bodies[event.stream_id] = self._bodies.get(event.stream_id, b"") + event.data
                if self.takes:
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                stream = event.stream_id
                self.answers[stream] = (self._statuses[stream], self._bodies.get(stream, b""))
            case StreamReset():
                self.resets.add(event.stream_id)


@asynccontextmanager
async def speaking(server: AwsServer) -> AsyncIterator[Client]:
    async with connected(server) as wire:
        yield Client(wire)


async def test_requests_at_once_are_answered_as_they_get_ready() -> None:
    released = asyncio.Event()

    async def answer(request: Request) -> Document:
        if request.body == b"slow":
            await released.wait()
        return Document(200, (), request.body + request.header(b"host").encode() + request.query)

    async with serving(answer) as server, speaking(server) as client:
        slow, quick = client.ask(b"slow"), client.ask(b"quick")
        assert await client.until_answered(quick) == [(200, b"quickhereb=c")]
        assert slow not in client.answers
        released.set()
        assert await client.until_answered(slow) == [(200, b"slowhereb=c")]


async def test_an_answer_larger_than_the_window_comes_as_the_client_takes_it() -> None:
    async def answer(_request: Request) -> Document:
        return Document(200, (), bytes(300_000))

    async with serving(answer) as server, speaking(server) as client:
        streams = [client.ask(b"x") for _ in range(3)]
        assert [len(body) for _, body in await client.until_answered(*streams)] == [300_000] * 3


async def test_a_request_larger_than_the_window_arrives() -> None:
    async def answer(request: Request) -> Document:
        return Document(200, (), str(len(request.body)).encode())

    async with serving(answer) as server, speaking(server) as client:
        stream = client.ask(b"", end=False)
        left = 1_000_000
        while left:
            room = min(left, client.http.local_flow_control_window(stream), client.http.max_outbound_frame_size)
            if not room:
                await client.read()
                continue
            client.http.send_data(stream, bytes(room))
            client.flush()
            left -= room
        client.http.end_stream(stream)
        client.flush()
        assert await client.until_answered(stream) == [(200, b"1000000")]
        assert server.buffered == 0


async def test_a_request_that_is_given_up_is_cancelled() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Document:
        if request.body == b"quick":
            return Document(200, (), b"")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(answer) as server, speaking(server) as client:
        stream = client.ask(b"wait")
        await begun.wait()
        client.http.reset_stream(stream)
        client.flush()
        await ended.wait()
        assert await client.until_answered(client.ask(b"quick")) == [(200, b"")]


async def test_a_request_that_is_given_up_before_it_was_begun_leaves_nothing() -> None:
    async with serving() as server, speaking(server) as client:
        stream = client.http.get_next_available_stream_id()
        client.http.send_headers(stream, HEADERS)
        client.http.send_data(stream, b"hello", end_stream=True)
        client.http.reset_stream(stream)
        client.flush()
        assert await client.until_answered(client.ask(b"x")) == [(200, b"POST /a b=c here x")]
        async with asyncio.timeout(5):
            while server.buffered:  # noqa: ASYNC110  # it takes some turns of the loop
                await asyncio.sleep(0)


async def test_a_client_that_only_gives_up_is_sent_away() -> None:
    async with serving() as server, speaking(server) as client:
        try:
            for _ in range(1_200):
                client.http.reset_stream(client.ask(b"x"))
                client.flush()
                await asyncio.sleep(0)
            while await client.read():
                pass
        except (ProtocolError, ConnectionError, RuntimeError):
            pass  # the server has ended the connection
        async with speaking(server) as another:
            assert (await another.until_answered(another.ask(b"x")))[0][0] == 200


async def test_a_body_that_is_too_long_is_refused_and_others_are_not() -> None:
    async with serving(limits=Limits(body_size=100)) as server, speaking(server) as client:
        long, short = client.ask(bytes(101)), client.ask(b"x")
        answers = await client.until_answered(long, short)
        assert (200, b"POST /a b=c here x") in answers
        assert long in client.resets or client.answers[long][0] == 413
        assert server.buffered == 0


@pytest.mark.parametrize("broken", [bytes(9), b"\x00\x00\x01\x01" + bytes(6), b"\xff" * 200_000])
async def test_broken_frames_end_the_connection(broken: bytes) -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + broken)
        while await wire.read():
            pass


async def test_a_request_that_does_not_go_on_ends_the_connection() -> None:
    async with serving(limits=Limits(body=Millis(1))) as server, speaking(server) as client:
        client.ask(b"x", end=False)
        while await client.read():
            pass


async def test_a_node_that_stops_sends_waits_away() -> None:
    begun = asyncio.Event()

    async def answer(_request: Request) -> Document:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(answer) as server, speaking(server) as client:
        stream = client.ask(b"wait")
        await begun.wait()
        await server.drain(Millis(1))
        assert (await client.until_answered(stream))[0][0] == 503
        while await client.read():
            pass

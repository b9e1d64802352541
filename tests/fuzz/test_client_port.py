"""The client port: broken HTTP/2, abused HTTP/2, and well-formed calls with nonsense inside; clients are served on."""

from __future__ import annotations

import asyncio
import logging

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.edge.grpc.server import BACKUP_SERVICE, CLUSTER_SERVICE, QUEUE_SERVICE
from tests.conformance.grpc.serving import Running, serving
from tests.fuzz.examples import fewer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
LARGEST_ANSWER = 4 * 1024 * 1024


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header(name: bytes, value: bytes) -> bytes:
    """RFC 7541, 6.2.2: a literal without indexing and with a new name."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    left, packed = len(text) - 127, bytearray([127])
    while left >= 128:
        packed.append(left % 128 | 128)
        left //= 128
    packed.append(left)
    return bytes(packed) + text


CALL = b"".join(
    header(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/broker.queues.v1.QueueService/Send"),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)
streams = st.integers(0, 9)
frames = st.builds(frame, st.integers(0, 12), st.integers(0, 255), streams, st.binary(max_size=60))
calls = st.builds(
    lambda stream, body: (
        frame(HEADERS, END_HEADERS, stream * 2 + 1, CALL) + frame(DATA, END_STREAM, stream * 2 + 1, body)
    ),
    st.integers(0, 4),
    st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=40).map(lambda body: b"\0" + len(body).to_bytes(4, "big") + body),
        st.just(b"\0\xff\xff\xff\xff"),
        st.just(b"\x01\0\0\0\x05hello"),
    ),
)
orderly = st.lists(st.one_of(frames, calls), max_size=6).map(
    lambda said: PREFACE + frame(SETTINGS, 0, 0, b"") + b"".join(said)
)
ABUSE = {
    "headers without end": [PREFACE, frame(SETTINGS, 0, 0, b""), frame(HEADERS, 0, 1, CALL)]
    + [frame(CONTINUATION, 0, 1, header(b"x", b"y" * 8_000))] * 200,
    "huge headers": [PREFACE, frame(SETTINGS, 0, 0, b"")]
    + [frame(HEADERS, 0, 1, CALL), frame(CONTINUATION, END_HEADERS, 1, header(b"x", b"y" * 16_000))] * 3,
    "calls opened and reset": [PREFACE, frame(SETTINGS, 0, 0, b"")]
    + [
        frame(HEADERS, END_HEADERS, stream, CALL) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 4_001, 2)
    ],
    "calls that never send their message": [PREFACE, frame(SETTINGS, 0, 0, b"")]
    + [frame(HEADERS, END_HEADERS, stream, CALL) for stream in range(1, 4_001, 2)],
    "pings": [PREFACE, frame(SETTINGS, 0, 0, b"")] + [frame(PING, 0, 0, bytes(8))] * 5_000,
    "settings": [PREFACE] + [frame(SETTINGS, 0, 0, b"")] * 5_000,
    "empty data": [PREFACE, frame(SETTINGS, 0, 0, b""), frame(HEADERS, END_HEADERS, 1, CALL)]
    + [frame(DATA, 0, 1, b"")] * 5_000,
    "windows": [PREFACE, frame(SETTINGS, 0, 0, b"")] + [frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")] * 10,
    "a frame over the limit": [PREFACE, frame(SETTINGS, 0, 0, b""), frame(DATA, 0, 1, bytes(70_000))],
    "http 1": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    "zeros": [bytes(100_000)],
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


async def say(port: int, said: bytes) -> int:
    """How much came back before the server closed, or fell silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = 0
    try:
        writer.write(said)
        async with asyncio.timeout(0.2):
            while piece := await reader.read(65_536):
                received += len(piece)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    return received


async def still_serves(running: Running) -> None:
    await running.send(b"hello")
    assert len(await running.receive(1)) == 1


@fewer
@given(st.lists(st.one_of(st.binary(max_size=200), orderly), min_size=1, max_size=5))
def test_broken_http2_harms_its_own_connection_only(said: list[bytes]) -> None:
    async def scenario() -> None:
        async with serving() as running:
            await running.create()
            port = running.doors["a-0"].server.port
            for received in await asyncio.gather(*(say(port, each) for each in said)):
                assert received < LARGEST_ANSWER
            await still_serves(running)

    asyncio.run(scenario())


@pytest.mark.parametrize("abuse", ABUSE)
async def test_abused_http2_is_bounded_and_others_are_served(abuse: str) -> None:
    async with serving() as running:
        await running.create()
        port = running.doors["a-0"].server.port
        for received in await asyncio.gather(*(say(port, b"".join(ABUSE[abuse])) for _ in range(3))):
            assert received < LARGEST_ANSWER
        await still_serves(running)


METHODS = [
    (f"/{service.full_name}/{method.name}", method.client_streaming)
    for service in (QUEUE_SERVICE, CLUSTER_SERVICE, BACKUP_SERVICE)
    for method in service.methods
]
fields = st.lists(
    st.one_of(
        st.builds(
            lambda number, value: _tag(number, 0) + _varint(value), st.integers(1, 12), st.integers(0, 2**64 - 1)
        ),
        st.builds(
            lambda number, value: _tag(number, 2) + _varint(len(value)) + value,
            st.integers(1, 12),
            st.one_of(st.binary(max_size=20), st.just(b"orders"), st.just(b"\xff\xfe")),
        ),
    ),
    max_size=6,
).map(b"".join)


def _varint(value: int) -> bytes:
    packed = bytearray()
    while value >= 128:
        packed.append(value % 128 | 128)
        value //= 128
    return bytes(packed + bytes([value]))


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


@fewer
@given(st.lists(st.tuples(st.sampled_from(METHODS), st.one_of(fields, st.binary(max_size=60))), min_size=1, max_size=6))
def test_any_message_to_any_method_is_answered_or_refused(said: list[tuple[tuple[str, bool], bytes]]) -> None:
    found: list[grpc.aio.AioRpcError] = []

    async def one(channel: grpc.aio.Channel, method: str, streams_: bool, message: bytes) -> None:
        try:
            if streams_:
                call = channel.stream_stream(method)(iter([message, message]), timeout=1.0)
                async for _ in call:
                    break
                call.cancel()
            else:
                await channel.unary_unary(method)(message, timeout=1.0)
        except grpc.aio.AioRpcError as error:
            found.append(error)

    async def scenario() -> None:
        async with serving() as running:
            await running.create()
            door = running.doors["a-0"]
            await asyncio.gather(*(one(door.channel, *method, message) for method, message in said))
            await running.create("afterwards")
            await running.send(b"hello", queue="afterwards")

    asyncio.run(scenario())
    # Garbage is INTERNAL to gRPC itself, when it cannot be read at all; what can be is never a defect of ours.
    assert not [error.details() for error in found if "its log explains" in (error.details() or "")]

"""The admin port over a real loopback socket: good requests are answered, bad ones bounded and refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.aio.tasks import TaskScope
from broker.telemetry.admin import AdminServer, AdminSettings, Response


async def metrics_page() -> Response:
    return 200, "text/plain; version=0.0.4", b"frames_total 3\n"


async def not_ready() -> Response:
    return 503, "text/plain", b"no leader\n"


async def broken() -> Response:
    raise ValueError("the page is broken")


def die(task_name: str, error: BaseException) -> None:
    raise AssertionError(f"task {task_name} failed") from error


@pytest.fixture
async def server() -> AsyncIterator[AdminServer]:
    async with TaskScope("test", die) as scope:
        routes = {"/metrics": metrics_page, "/readyz": not_ready, "/broken": broken}
        server = AdminServer(AdminSettings(connection_timeout=2_000), routes, scope)
        await server.start()
        yield server
        await server.close()


async def exchange(server: AdminServer, request: bytes) -> tuple[str, str]:
    """Status line and everything after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    status, _, rest = answer.partition("\r\n")
    return status, rest


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def test_a_page_is_served_with_its_type_and_length(server: AdminServer) -> None:
    status, rest = await exchange(server, get("/metrics?format=text"))
    assert status == "HTTP/1.1 200 OK"
    assert "Content-Type: text/plain; version=0.0.4\r\n" in rest
    assert "Content-Length: 15\r\n" in rest
    assert rest.endswith("\r\n\r\nframes_total 3\n")


async def test_a_page_chooses_its_status(server: AdminServer) -> None:
    status, rest = await exchange(server, get("/readyz"))
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert rest.endswith("no leader\n")


async def test_a_broken_page_is_logged_and_the_others_live(
    server: AdminServer, caplog: pytest.LogCaptureFixture
) -> None:
    status, rest = await exchange(server, get("/broken"))
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert "broken" not in rest.rpartition("\r\n\r\n")[2]
    assert any(record.exc_info for record in caplog.records)
    assert (await exchange(server, get("/metrics")))[0] == "HTTP/1.1 200 OK"


async def test_an_unknown_path_is_told_the_known_ones(server: AdminServer) -> None:
    status, rest = await exchange(server, get("/metric"))
    assert status == "HTTP/1.1 404 Not Found"
    assert "/broken, /metrics, /readyz" in rest


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods_are_refused_even_with_a_body(server: AdminServer, method: str) -> None:
    body = b"x" * 20_000
    head = f"{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    status, rest = await exchange(server, head + body)
    assert status == "HTTP/1.1 405 Method Not Allowed"
    assert "Allow: GET\r\n" in rest


@pytest.mark.parametrize("request_line", [b"hello", b"GET /metrics", b"GET metrics HTTP/1.1", b"GET / HTTP/2", b""])
async def test_what_is_not_http_is_a_bad_request(server: AdminServer, request_line: bytes) -> None:
    status, _ = await exchange(server, request_line + b"\r\n\r\n")
    assert status == "HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_head_over_the_limit_is_refused(server: AdminServer, end: bytes) -> None:
    status, rest = await exchange(server, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 30_000 + end)
    assert status == "HTTP/1.1 431 Request Header Fields Too Large"
    assert "8192 bytes" in rest


async def test_a_client_that_says_nothing_is_dropped() -> None:
    async with TaskScope("test", die) as scope:
        server = AdminServer(AdminSettings(connection_timeout=1), {}, scope)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        await server.close()


async def test_connections_over_the_limit_are_turned_away() -> None:
    async with TaskScope("test", die) as scope:
        server = AdminServer(AdminSettings(max_connections=0), {"/metrics": metrics_page}, scope)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        await server.close()


async def test_a_client_that_leaves_midway_harms_nobody(server: AdminServer) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /met")
    writer.transport.abort()
    assert (await exchange(server, get("/metrics")))[0] == "HTTP/1.1 200 OK"


async def test_connections_that_say_nothing_do_not_keep_the_probes_out() -> None:
    async with TaskScope("test", die) as scope:
        server = AdminServer(AdminSettings(max_connections=3), {"/metrics": metrics_page}, scope)
        await server.start()
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert (await exchange(server, get("/metrics")))[0] == "HTTP/1.1 200 OK"
        async with asyncio.timeout(5):
            assert await ended(silent[0][0])
        for _, writer in silent:
            writer.close()
        await server.close()


async def test_a_client_that_does_not_read_its_answer_is_dropped_and_the_answer_with_it() -> None:
    async def endless() -> Response:
        return 200, "text/plain", bytes(64 * 1024 * 1024)

    async with TaskScope("test", die) as scope:
        server = AdminServer(AdminSettings(connection_timeout=50), {"/endless": endless}, scope)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(get("/endless"))
        async with asyncio.timeout(5):
            await idle(scope)
            received = 0
            while piece := await until_reset(reader):
                received += len(piece)
        assert received < 64 * 1024 * 1024
        writer.close()
        await server.close()


async def idle(scope: TaskScope) -> None:
    while True:
        if not len(scope):
            return
        await asyncio.sleep(0.001)


async def ended(reader: asyncio.StreamReader) -> bool:
    return await until_reset(reader) == b""


async def until_reset(reader: asyncio.StreamReader) -> bytes:
    """The next piece; nothing at the end, however it comes."""
    try:
        return await reader.read(65_536)
    except ConnectionError:
        return b""

"""The admin port: whatever comes is answered with a status or dropped, and the probes go on."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from broker.aio.tasks import TaskScope
from broker.telemetry.admin import AdminServer, AdminSettings, Response
from tests.fuzz.examples import fewer

GOOD = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
heads = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda method, path, version, headers: b" ".join((method, path, version)) + b"\r\n" + headers + b"\r\n\r\n",
        st.sampled_from([b"GET", b"POST", b"get", b"", b"\xff"]),
        st.one_of(st.sampled_from([b"/livez", b"/livez?a=b", b"*", b"", b"/\xff\xfe"]), st.binary(max_size=30)),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"HTTP/1.", b""]),
        st.binary(max_size=100),
    ),
    st.integers(0, 900).map(lambda size: b"GET /livez HTTP/1.1\r\nX: " + b"x" * size),
    st.just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
)


async def alive() -> Response:
    return 200, "text/plain", b"alive\n"


async def answer_to(port: int, said: bytes, ends: bool) -> bytes:
    """All that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        if ends:
            writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()
    except TimeoutError:
        raise
    except OSError:  # reset, sooner or later
        return b""
    finally:
        writer.close()


@fewer
@given(st.lists(st.tuples(heads, st.booleans()), min_size=1, max_size=8))
def test_whatever_comes_the_probes_are_answered(said: list[tuple[bytes, bool]]) -> None:
    failures: list[tuple[str, BaseException]] = []

    async def scenario() -> None:
        async with TaskScope("test", lambda what, error: failures.append((what, error))) as scope:
            settings = AdminSettings(connection_timeout=200, max_connections=4, head_limit=512)
            server = AdminServer(settings, {"/livez": alive}, scope)
            await server.start()
            try:
                await probed(server)
            finally:
                await server.close()

    async def probed(server: AdminServer) -> None:
        answers = await asyncio.gather(*(answer_to(server.port, each, ends) for each, ends in said))
        for answer in answers:
            assert not answer or answer.startswith(b"HTTP/1.1 ")
        assert (await answer_to(server.port, GOOD, ends=False)).endswith(b"alive\n")

    asyncio.run(scenario())
    assert failures == []

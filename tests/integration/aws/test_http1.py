from __future__ import annotations

import asyncio

import pytest

from broker.base.instants import Millis
from broker.edge.aws.door import Limits
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request
from tests.integration.aws.serving import connected, serving

POST = b"POST /a?b=c HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_request_is_answered_and_the_connection_stays() -> None:
    async with serving() as server, connected(server) as wire:
        for _ in range(3):
            wire.send(POST)
            status, headers, body = await wire.response()
            assert (status, body) == (200, b"POST /a b=c here hello")
            assert headers["content-type"] == "text/plain"
            assert headers["date"].endswith("GMT")


async def test_a_request_in_pieces_of_one_byte_is_one_request() -> None:
    async with serving() as server, connected(server) as wire:
        for number in range(len(POST)):
            wire.send(POST[number : number + 1])
            await asyncio.sleep(0)
        assert (await wire.response())[2] == b"POST /a b=c here hello"


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    # given answers that would overtake one another
    released = asyncio.Event()

    async def answer(request: Request) -> Document:
        if request.body == b"0":
            await released.wait()
        return Document(200, (), request.body)

    async with serving(answer) as server, connected(server) as wire:
        # when fifty requests come at once
        wire.send(b"".join(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%d" % (len(str(n)), n) for n in range(50)))
        released.set()
        # then each has its answer, in order
        assert [(await wire.response())[2] for _ in range(50)] == [str(n).encode() for n in range(50)]


async def test_a_client_that_asks_without_end_leaves_others_their_turn() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving() as server, connected(server) as wire:
        counting = asyncio.create_task(count())
        wire.send(b"GET / HTTP/1.1\r\n\r\n" * 1_600)
        for _ in range(1_600):
            await wire.response()
        counting.cancel()
    assert turns >= 100


async def test_a_chunked_body_is_put_together() -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
        assert (await wire.response())[2] == b"POST /   hello"


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await wire.response())[0] == 100
        wire.send(b"hello")
        assert (await wire.response())[2] == b"POST /   hello"


async def test_an_offer_to_speak_http2_is_passed_over_and_the_request_answered() -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with serving() as server, connected(server) as wire:
        for _ in range(2):
            wire.send(b"POST /x HTTP/1.1\r\n" + upgrade + b"Content-Length: 2\r\n\r\nok")
            assert (await wire.response())[2] == b"POST /x   ok"
            wire.send(b"GET /y HTTP/1.1\r\n" + upgrade + b"\r\n")
            assert (await wire.response())[2] == b"GET /y   "


async def test_a_head_request_has_no_body_in_its_answer() -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(b"HEAD / HTTP/1.1\r\n\r\n")
        assert (await wire.response(has_body=False))[1]["content-length"] == "9"
        wire.send(POST)
        assert (await wire.response())[0] == 200


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"])
async def test_a_connection_that_the_client_wants_closed_is_closed(head: bytes) -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(head)
        assert (await wire.response())[1]["connection"] == "close"
        assert await wire.ended()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + b"x" * 64 + b"\r\n40\r\n" + b"x" * 64, 413),
        (b"POST / HTTP/1.1\r\nA: " + b"x" * 1_100, 431),
        (b"POST /" + b"x" * 1_100, 431),
    ],
)
async def test_what_cannot_be_taken_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    async with serving(limits=Limits(body_size=100, head_size=1_000)) as server, connected(server) as wire:
        wire.send(sent)
        assert (await wire.response())[0] == status
        assert await wire.ended()


async def test_a_request_before_a_bad_one_still_has_its_answer() -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(POST + b"nonsense\r\n\r\n")
        assert (await wire.response())[0] == 200
        assert (await wire.response())[0] == 400
        assert await wire.ended()


async def test_bodies_are_bounded_all_together_and_the_room_comes_back() -> None:
    limits = Limits(body_size=100, bodies_size=100)
    async with serving(limits=limits) as server:
        async with connected(server) as one, connected(server) as two:
            # given a client that has sent most of what all may send
            one.send(b"POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + b"x" * 80)
            await _until(lambda: server.buffered == 80)
            # then another one is refused
            two.send(b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\n" + b"x" * 30)
            assert (await two.response())[0] == 503
        await _until(lambda: server.buffered == 0)
        async with connected(server) as three:
            three.send(b"POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + b"x" * 90)
            assert (await three.response())[0] == 200


async def test_a_client_that_hangs_up_ends_its_own_wait() -> None:
    # given a request that waits for messages
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(_request: Request) -> Document:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(answer) as server, connected(server) as wire:
        wire.send(POST)
        await begun.wait()
        # when its client goes
        wire.hang_up()
        # then the wait is over
        await ended.wait()
        await _until(lambda: server.connections == 0)


@pytest.mark.parametrize(
    "sent", [b"", b"P", b"POST / HT", b"POST / HTTP/1.1\r\nA: b\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_a_client_that_does_not_come_to_the_point_is_sent_away(sent: bytes) -> None:
    soon = Millis(1)
    async with serving(limits=Limits(idle=soon, head=soon, body=soon)) as server, connected(server) as wire:
        wire.send(sent)
        assert b"200" not in await wire.read()


async def test_the_one_that_was_silent_for_longest_makes_room() -> None:
    async with serving(limits=Limits(connections=2)) as server, connected(server) as first, connected(server) as second:
        first.send(POST)
        await first.response()
        second.send(POST)
        await second.response()
        async with connected(server) as third:
            third.send(POST)
            assert (await third.response())[0] == 200
            assert await first.ended()
            second.send(POST)
            assert (await second.response())[0] == 200


async def test_a_node_that_stops_lets_calls_end_and_sends_waits_away() -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Document:
        if request.body == b"wait!":
            begun.set()
            await asyncio.Event().wait()
        await released.wait()
        return Document(200, (), b"done")

    async with (
        serving(answer) as server,
        connected(server) as waiting,
        connected(server) as calling,
        connected(server) as idle,
    ):
        waiting.send(POST.replace(b"hello", b"wait!"))
        calling.send(POST)
        await begun.wait()
        await _until(lambda: server.connections == 3)
        # when the node stops
        async with asyncio.TaskGroup() as group:
            group.create_task(server.drain(Millis(300)))
            assert await idle.ended()
            released.set()
        # then the call has its answer, and the wait an error after which its SDK tries elsewhere
        assert (await calling.response())[2] == b"done"
        assert (await waiting.response())[0] == 503
        assert await waiting.ended()


async def test_a_client_that_reads_nothing_is_not_written_to_without_end() -> None:
    # given answers far larger than a socket takes
    answered = 0

    async def answer(_request: Request) -> Document:
        nonlocal answered
        answered += 1
        return Document(200, (), bytes(8_000_000))

    async with serving(answer) as server, connected(server) as wire:
        # when a client asks ten times and does not read
        wire.send(POST * 10)
        await _until(lambda: answered > 0)
        await asyncio.sleep(0)
        # then it is answered once; the rest when it reads
        assert answered == 1
        for _ in range(10):
            assert len((await wire.response())[2]) == 8_000_000
        assert server.connections == 1


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # whatever it is, it takes some turns of the loop
            await asyncio.sleep(0)

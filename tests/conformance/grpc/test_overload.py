"""A node with too much to do, and requests that are too large: refused in time, by name, and the others are served."""

from __future__ import annotations

import asyncio
import stat
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc_health.v1 import health_pb2, health_pb2_grpc

from broker.base.instants import Millis
from broker.client.errors import of_call
from broker.edge.grpc.door import Door
from broker.edge.grpc.door_watch import DoorWatch
from broker.edge.grpc.send_gate import MANY
from broker.pb.queues.v1 import queues_pb2 as pb
from broker.services.admission import AdmissionSettings
from broker.services.assembly import ServiceSettings
from broker.telemetry.metrics import Gauge
from tests.conformance.grpc.serving import TIMEOUT, Running, real_pause, refusal, serving, until
from tests.conformance.grpc.test_produce import frame, opened


async def test_a_frame_too_much_is_refused_by_name_and_stored_when_it_comes_again() -> None:
    async with serving(settings=ServiceSettings(admission=AdmissionSettings(requests=1))) as running:
        await running.create()
        stream = await opened(running)
        running.cluster.held = asyncio.Event()
        await stream.write(frame(1, b"a"))
        await until(lambda: running.doors["a-0"].services.admission.requests == 1)
        await stream.write(frame(2, b"b"))
        refused = await stream.read()
        assert (refused.frame, refused.error.code, refused.error.retryable) == (2, "Overloaded", True)
        assert "its limit is 1" in refused.error.message

        running.cluster.held.set()
        assert (await stream.read()).frame == 1
        await stream.write(frame(2, b"b"))
        assert (await stream.read()).accepted == 1
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_while_calls_wait_sends_are_refused_unread_and_the_rest_goes_on() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        admission, now = running.doors["a-0"].services.admission, running.cluster.clock.monotonic()
        running.cluster.held = asyncio.Event()
        before = [asyncio.ensure_future(running.send(b"before")) for _ in range(MANY)]
        await until(lambda: admission.requests == MANY)
        admission.late(Millis(400), now)
        request = pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=b"x")])
        status, info = await refusal(running.queues.Send(request, timeout=TIMEOUT))
        assert (status, info.code, info.retryable) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Overloaded", True)
        assert "calls wait for 400 ms" in info.message
        await stream.write(frame(1, b"a"))
        assert (await stream.read()).error.code == "Overloaded"
        running.cluster.held.set()
        await asyncio.gather(*before)
        assert len(await running.receive(1)) == 1

        running.cluster.clock.advance(1_000)
        await stream.write(frame(1, b"a"))
        assert (await stream.read()).accepted == 1
        assert len((await running.send(b"after")).message_ids) == 1


async def test_long_polls_do_not_keep_anybody_out() -> None:
    async with serving(settings=ServiceSettings(admission=AdmissionSettings(requests=2, polls=3))) as running:
        await running.create()
        polls = [asyncio.ensure_future(running.receive(1, wait_ms=20_000)) for _ in range(3)]
        await running.polls(3)
        status, info = await refusal(running.queues.Receive(pb.ReceiveRequest(queue="orders", wait_ms=20_000)))
        assert (status, info.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Overloaded")
        await running.send(b"a", b"b", b"c")
        assert sum(map(len, await asyncio.gather(*polls))) == 3


async def test_many_connections_are_served() -> None:
    async with serving() as running:
        await running.create()
        port = running.doors["a-0"].server.port
        own = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=own) for _ in range(40)]
        stubs = [running.doors["a-0"].queues.__class__(channel) for channel in channels]
        request = pb.DescribeQueueRequest(name="orders")
        answers = await asyncio.gather(*(stub.DescribeQueue(request, timeout=TIMEOUT) for stub in stubs))
        assert {answer.queue.name for answer in answers} == {"orders"}
        for channel in channels:
            await channel.close()


async def refused_without_a_word(running: Running, metadata: Any = None, body: bytes = b"x") -> grpc.aio.AioRpcError:
    request = pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=body)])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.queues.Send(request, timeout=TIMEOUT, metadata=metadata)
    return refused.value


async def test_a_request_over_the_limit_is_refused_before_it_is_read() -> None:
    async with serving() as running:
        await running.create()
        error = await refused_without_a_word(running, body=bytes(6 * 1024 * 1024))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert of_call(error, "a-0").code == "BatchTooLarge"
        assert len((await running.send(b"x")).message_ids) == 1


async def test_headers_over_the_limit_are_refused() -> None:
    async with serving() as running:
        await running.create()
        error = await refused_without_a_word(running, metadata=(("x-large", "y" * 20_000),))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len((await running.send(b"x")).message_ids) == 1


@pytest.mark.parametrize("method", ["Send", "Produce", "Consume"])
async def test_a_request_that_is_none_is_the_callers_fault(method: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as running:
        channel, name = running.doors["a-0"].channel, f"/broker.queues.v1.QueueService/{method}"

        async def call() -> None:
            if method == "Send":
                await channel.unary_unary(name)(b"\xff", timeout=TIMEOUT)
            else:
                await channel.stream_stream(name)(iter([b"\xff"]), timeout=TIMEOUT).read()

        status, info = await refusal(call())
        assert (status, info.code) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument")
        assert f"1 bytes are no {method}Request" in info.message
        assert not [record for record in caplog.records if record.exc_info]


# --- the door


async def test_calls_that_came_together_are_begun_in_the_same_turn_of_the_loop() -> None:
    # given turns of the loop that take long
    calls, turns, begun_in = 200, 0, []

    def turn() -> None:
        nonlocal turns, next_turn
        turns += 1
        time.sleep(0.005)
        next_turn = asyncio.get_running_loop().call_soon(turn)

    class Counted(SlowHealth):
        async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:  # noqa: N802
            begun_in.append(turns)
            return await super().Check(request, context)

    def call_all(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            for answer in [check.future(b"", timeout=TIMEOUT) for _ in range(calls)]:
                answer.result()

    async with opened_door(Counted()) as door:
        next_turn = asyncio.get_running_loop().call_soon(turn)

        # when many calls come at once, through one connection
        await asyncio.to_thread(call_all, door.private)
        next_turn.cancel()

    # then a turn began many of them; grpc.aio alone would have needed five turns for each
    assert len(begun_in) == calls
    assert len(set(begun_in)) < calls // 4
    # and each turn brought some of them on; with one event a turn it would be several turns for each
    assert turns < 2 * calls


@pytest.mark.parametrize("turns", range(10))
async def test_a_door_that_closes_while_calls_come_ends_them_all(turns: int, caplog: pytest.LogCaptureFixture) -> None:
    codes: list[grpc.StatusCode] = []
    called, wait = threading.Event(), threading.Event()

    def call_all(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            check(b"", timeout=TIMEOUT)
            answers = [check.future(b"", timeout=1.0) for _ in range(100)]
            called.set()
            codes.extend(answer.code() for answer in answers)

    async with opened_door(SlowHealth()) as door:
        calling = asyncio.ensure_future(asyncio.to_thread(call_all, door.private))
        await until(called.is_set)
        wait.wait(0.05)  # in the loop: meanwhile the calls come
        for _ in range(turns):
            await asyncio.sleep(0)
        await door.close(TIMEOUT)
        await calling
    assert len(codes) == 100
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert not [record for record in caplog.records if record.exc_info]


async def test_other_servers_of_the_process_are_left_as_they_are() -> None:
    plain = cygrpc.AioServer
    async with opened_door(SlowHealth()):
        assert cygrpc.AioServer is plain


# --- the watch over the door


class SlowHealth(health_pb2_grpc.HealthServicer):
    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:  # noqa: N802
        self.asked += 1
        await self.go.wait()
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def opened_door(health: SlowHealth) -> AsyncIterator[Door]:
    def make() -> grpc.aio.Server:
        server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        return server

    door = Door(64, make, lambda server, address: server.add_insecure_port(address))
    await door.open("127.0.0.1:0")
    yield door
    await door.close(None)


async def test_calls_that_wait_are_told_as_long_as_they_do_and_nobody_is_asked_while_nobody_calls() -> None:
    health, gauge, begun, late = SlowHealth(), Gauge(), 0, 0

    def is_late(_: Millis) -> None:
        nonlocal late
        late += 1

    async with opened_door(health) as door:
        watch = DoorWatch(lambda: begun, is_late, lambda: None, Millis(5), real_pause, gauge, lambda *_: None)
        watching = asyncio.ensure_future(watch.run(door.private))
        # it is asked once, and not again while nobody calls
        await until(lambda: health.asked == 1)
        for _ in range(20):
            await real_pause(Millis(1))
        assert health.asked == 1

        # when it is late that is told as long as it is, and it is asked again at once
        health.go.clear()
        begun = 1
        await until(lambda: late >= 3)
        health.go.set()
        await until(lambda: gauge.value > 5)
        asked, begun = health.asked, 2
        await until(lambda: health.asked == asked + 1)
        watching.cancel()
        await asyncio.wait([watching])


async def one_look(health: SlowHealth) -> list[Millis]:
    """What was told of it; 0: that it was quick."""
    told: list[Millis] = []
    async with opened_door(health) as door:
        watch = DoorWatch(
            lambda: 1, told.append, lambda: told.append(Millis(0)), Millis(5_000), real_pause, Gauge(), lambda *_: None
        )
        watching = asyncio.ensure_future(watch.run(door.private))
        await until(lambda: bool(told))
        watching.cancel()
        await asyncio.wait([watching])
    return told


async def test_a_look_that_is_turned_away_counts_as_a_long_wait() -> None:
    class Full(SlowHealth):
        async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:  # noqa: N802
            await context.abort(grpc.StatusCode.CANCELLED, "")
            raise AssertionError

    assert (await one_look(Full()))[0] == 20_000


async def test_a_look_that_did_not_have_to_wait_says_so() -> None:
    assert (await one_look(SlowHealth()))[0] == 0


async def test_the_socket_of_the_watch_is_nobody_elses_business() -> None:
    async with opened_door(SlowHealth()) as door:
        folder = Path(door.private.removeprefix("unix:")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()

"""The unary calls of QueueService when the cluster is in trouble: limits, deadlines, lost leaders, bugs."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from broker.base.errors import DiskFull, Unavailable
from broker.pb.queues.v1 import queues_pb2 as pb
from broker.services.admission import AdmissionSettings
from broker.services.assembly import ServiceSettings
from tests.conformance.grpc.serving import refusal, serving, until
from tests.unit.services.fake_groups import FakeCluster


async def test_over_the_limit_of_messages_in_flight() -> None:
    async with serving(FakeCluster(in_flight_limit=2)) as running:
        await running.create()
        await running.send(b"a", b"b", b"c")
        assert len(await running.receive()) == 2
        status, info = await refusal(running.queues.Receive(pb.ReceiveRequest(queue="orders")))
        assert (status, info.code, info.retryable) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OverLimit", True)


async def test_an_overloaded_node_says_so_at_once() -> None:
    async with serving(settings=ServiceSettings(admission=AdmissionSettings(requests=1))) as running:
        await running.create()
        running.cluster.held = asyncio.Event()
        first = asyncio.ensure_future(running.send(b"a"))
        await until(lambda: running.doors["a-0"].services.admission.requests == 1)
        status, info = await refusal(running.queues.DescribeQueue(pb.DescribeQueueRequest(name="orders")))
        running.cluster.held.set()
        assert (status, info.code, info.retryable) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Overloaded", True)
        assert len((await first).message_ids) == 1


async def test_a_full_disk_is_told_as_such() -> None:
    error, status = DiskFull("the disk is full"), grpc.StatusCode.RESOURCE_EXHAUSTED
    async with serving() as running:
        await running.create()
        running.cluster.before = [error]
        message = pb.OutgoingMessage(body=b"x")
        found, info = await refusal(running.queues.Send(pb.SendRequest(queue="orders", messages=[message])))
        assert (found, info.code, info.retryable, info.message) == (status, error.code, True, str(error))


async def test_without_a_quorum_writes_are_refused_in_bounded_time() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        running.cluster.elect(1, None)
        call = asyncio.ensure_future(refusal(running.queues.Send(_one())))
        await asyncio.sleep(0.05)
        running.cluster.clock.advance(5_000)
        status, info = await call
        assert (status, info.code, info.retryable) == (grpc.StatusCode.UNAVAILABLE, "Unavailable", True)
        assert "no leader for group 1 within 5000 ms" in info.message


def _one() -> pb.SendRequest:
    return pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=b"x")])


async def test_an_unexpected_error_is_internal_with_an_id_and_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as running:
        await running.create()
        groups = running.cluster.on[running.cluster.nodes[0].id]
        groups.peek = _explode  # type: ignore[method-assign]
        status, info = await refusal(running.queues.Send(_one()))

        assert (status, info.code, info.retryable) == (grpc.StatusCode.INTERNAL, "Internal", False)
        identity = info.message.rpartition(" ")[2]
        assert len(identity) == 8
        assert "secret" not in info.message
        logged = [record for record in caplog.records if identity in record.getMessage()]
        assert len(logged) == 1
        assert logged[0].exc_info is not None


def _explode(*_: object) -> None:
    raise KeyError("secret")


async def test_the_callers_deadline_is_honoured() -> None:
    async with serving() as running:
        await running.create()
        running.cluster.held = asyncio.Event()
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await running.queues.Send(_one(), timeout=0.05)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        running.cluster.held.set()
        # What is left of a deadline bounds the search for a leader too.
        running.cluster.elect(1, None)
        call = asyncio.ensure_future(refusal(running.queues.Send(_one(), timeout=10)))
        await asyncio.sleep(0.05)
        running.cluster.clock.advance(10_000)
        assert (await call)[0] is grpc.StatusCode.UNAVAILABLE


async def test_any_node_answers_any_call() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.doors["c-0"].queues.CreateQueue(pb.CreateQueueRequest(name="orders"))
        sent = await running.doors["b-0"].queues.Send(_one())
        received = await running.doors["c-0"].queues.Receive(pb.ReceiveRequest(queue="orders"))
        assert received.messages[0].message_id == sent.message_ids[0]
        running.cluster.after = [Unavailable("the connection to a-0 ended")]
        await running.doors["b-0"].queues.Send(_one())
        assert (await running.counts()).sent_total == 2

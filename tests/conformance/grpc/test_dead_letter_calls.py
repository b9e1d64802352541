"""Dead letters over the API: policies and who may be named in them, moving back and elsewhere, and every refusal."""

from __future__ import annotations

import grpc
import pytest

from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import Running, refusal, serving
from tests.unit.services.fake_groups import FakeCluster

FAILED = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
TO_DEAD = pb.RedrivePolicy(target="dead", max_receive_count=1)


async def describe(running: Running, name: str) -> pb.QueueDescription:
    found: pb.QueueDescription = (await running.queues.DescribeQueue(pb.DescribeQueueRequest(name=name))).queue
    return found


async def kill(running: Running, *bodies: bytes) -> list[pb.DeliveredMessage]:
    """Sends to "orders", receives, and receives again: all become dead letters. Returns the first deliveries."""
    await running.send(*bodies)
    received = await running.receive(visibility_timeout_ms=0)
    assert await running.receive() == []
    return received


async def arrived(running: Running, queue: str, count: int) -> None:
    for _ in range(1_000):
        if (await running.counts(queue)).visible >= count:
            return
    raise AssertionError(f"{count} messages never arrived in {queue}")


async def test_a_dead_letter_tells_where_it_came_from_and_is_moved_back() -> None:
    async with serving(FakeCluster(nodes=3), couriers=True) as running:
        # given a message received too often
        await running.create("dead")
        await running.create("orders", redrive=TO_DEAD)
        (original,) = await kill(running, b"poison")
        await arrived(running, "dead", 1)
        (moved,) = await running.receive(queue="dead", visibility_timeout_ms=0)
        source = await describe(running, "orders")

        assert (moved.body, moved.receive_count) == (b"poison", 1)
        assert (moved.origin.queue, moved.origin.message_id) == ("orders", original.message_id)
        assert (moved.origin.sent_at, moved.origin.receive_count) == (original.sent_at, 1)
        assert (source.counts.moved_total, source.counts.visible, source.redrive_target) == (1, 0, "dead")
        assert (await running.counts("dead")).arrived_total == 1

        # when it is moved back
        sources = await running.queues.ListDeadLetterSources(pb.ListDeadLetterSourcesRequest(queue="dead"))
        task = (await running.queues.StartMove(pb.StartMoveRequest(source="dead"))).task
        await arrived(running, "orders", 1)

        # then the source has it again, and the task tells so
        assert list(sources.names) == ["orders"]
        (back,) = await running.receive()
        assert (back.body, back.HasField("origin")) == (b"poison", False)
        (move,) = (await running.queues.ListMoves(pb.ListMovesRequest(source="dead"))).moves
        assert (move.task, move.status, move.moved, move.to_move) == (task, pb.MOVE_STATUS_COMPLETED, 1, 1)
        assert (move.destination, move.messages_per_second, move.failure) == ("", 0, "")


async def test_a_slow_move_elsewhere_is_listed_and_cancelled_once() -> None:
    async with serving(couriers=True) as running:
        for name in ("dead", "study"):
            await running.create(name)
        await running.send(*(b"%d" % number for number in range(5)), queue="dead")
        request = pb.StartMoveRequest(source="dead", destination="study", messages_per_second=1)
        task = (await running.queues.StartMove(request)).task
        status, info = await refusal(running.queues.StartMove(request))
        assert (status, info.code, info.retryable) == (FAILED, "MoveTaskRunning", True)

        (move,) = (await running.queues.ListMoves(pb.ListMovesRequest(source="dead"))).moves
        assert (move.status, move.destination, move.messages_per_second) == (pb.MOVE_STATUS_RUNNING, "study", 1)
        moved = (await running.queues.CancelMove(pb.CancelMoveRequest(task=task))).moved
        (move,) = (await running.queues.ListMoves(pb.ListMovesRequest(source="dead"))).moves
        assert (move.status, move.moved) == (pb.MOVE_STATUS_CANCELLED, moved)
        status, info = await refusal(running.queues.CancelMove(pb.CancelMoveRequest(task=task)))
        assert (status, info.code) == (FAILED, "MoveTaskNotRunning")


async def test_moves_that_cannot_be_are_refused() -> None:
    async with serving() as running:
        for name in ("orders", "dead", "other.fifo"):
            await running.create(name)
        q = running.queues
        refused = [
            (q.StartMove(pb.StartMoveRequest(source="dead")), FAILED, "NotDeadLetterQueue"),
            (q.StartMove(pb.StartMoveRequest(source="none")), NOT_FOUND, "QueueNotFound"),
            (q.StartMove(pb.StartMoveRequest(source="dead", destination="dead")), FAILED, "RedriveTargetInvalid"),
            (q.StartMove(pb.StartMoveRequest(source="dead", destination="other.fifo")), FAILED, "RedriveTargetInvalid"),
            (
                q.StartMove(pb.StartMoveRequest(source="dead", destination="orders", messages_per_second=501)),
                INVALID,
                "InvalidArgument",
            ),
            (q.ListMoves(pb.ListMovesRequest(source="none")), NOT_FOUND, "QueueNotFound"),
            (q.CancelMove(pb.CancelMoveRequest(task="nonsense")), INVALID, "InvalidArgument"),
            (q.ListDeadLetterSources(pb.ListDeadLetterSourcesRequest(queue="none")), NOT_FOUND, "QueueNotFound"),
        ]
        for call, expected, code in refused:
            status, info = await refusal(call)
            assert (status, info.code) == (expected, code), info.message


@pytest.mark.parametrize(
    ("redrive", "expected", "code"),
    [
        (pb.RedrivePolicy(target="none", max_receive_count=1), FAILED, "RedriveTargetInvalid"),
        (pb.RedrivePolicy(target="orders", max_receive_count=1), FAILED, "RedriveTargetInvalid"),
        (pb.RedrivePolicy(target="other.fifo", max_receive_count=1), FAILED, "RedriveTargetInvalid"),
        (pb.RedrivePolicy(target="closed", max_receive_count=1), FAILED, "RedriveNotAllowed"),
        (pb.RedrivePolicy(target="picky", max_receive_count=1), FAILED, "RedriveNotAllowed"),
        (pb.RedrivePolicy(target="dead", max_receive_count=0), INVALID, "InvalidArgument"),
        (pb.RedrivePolicy(target="dead", max_receive_count=1_001), INVALID, "InvalidArgument"),
        (pb.RedrivePolicy(target="a b", max_receive_count=1), INVALID, "InvalidName"),
    ],
)
async def test_a_policy_that_cannot_be_is_refused_at_creation_and_later(
    redrive: pb.RedrivePolicy, expected: grpc.StatusCode, code: str
) -> None:
    async with serving() as running:
        await running.create("dead")
        await running.create("other.fifo")
        await running.create("closed", redrive_allow=pb.RedriveAllowPolicy(permission=pb.REDRIVE_PERMISSION_DENY_ALL))
        picky = pb.RedriveAllowPolicy(permission=pb.REDRIVE_PERMISSION_BY_QUEUE, sources=["friend"])
        await running.create("picky", redrive_allow=picky)
        attributes = pb.QueueAttributes(redrive=redrive)
        created = await refusal(running.queues.CreateQueue(pb.CreateQueueRequest(name="orders", attributes=attributes)))
        await running.create("orders")
        updated = await refusal(running.queues.UpdateQueue(pb.UpdateQueueRequest(name="orders", attributes=attributes)))
        for status, info in (created, updated):
            assert (status, info.code) == (expected, code), info.message


async def test_an_allow_policy_is_checked_and_told() -> None:
    async with serving() as running:
        await running.create("dead")
        too_many = [f"queue-{number}" for number in range(11)]
        for policy, said in (
            (
                pb.RedriveAllowPolicy(permission=9),
                "redrive permission 9 is not known: use one of REDRIVE_PERM",
            ),
            (pb.RedriveAllowPolicy(permission=3), "number of source queues 0 is out of range: use 1 to 10"),
            (pb.RedriveAllowPolicy(permission=3, sources=too_many), "number of source queues 11 is out of range"),
            (pb.RedriveAllowPolicy(permission=2, sources=["a"]), "redrive permission 'deny_all' came with 1 source"),
        ):
            request = pb.UpdateQueueRequest(name="dead", attributes=pb.QueueAttributes(redrive_allow=policy))
            status, info = await refusal(running.queues.UpdateQueue(request))
            assert (status, info.code) == (INVALID, "InvalidArgument")
            assert said in info.message
        wanted = pb.RedriveAllowPolicy(permission=pb.REDRIVE_PERMISSION_BY_QUEUE, sources=["a", "b"])
        request = pb.UpdateQueueRequest(name="dead", attributes=pb.QueueAttributes(redrive_allow=wanted))
        await running.queues.UpdateQueue(request)
        assert (await describe(running, "dead")).attributes.redrive_allow == wanted


async def test_a_policy_is_taken_away_and_not_together_with_a_new_one() -> None:
    async with serving() as running:
        await running.create("dead")
        await running.create("orders", redrive=TO_DEAD)
        both = pb.UpdateQueueRequest(name="orders", attributes=pb.QueueAttributes(redrive=TO_DEAD), remove_redrive=True)
        status, info = await refusal(running.queues.UpdateQueue(both))
        assert (status, info.code) == (INVALID, "InvalidArgument")
        assert (await describe(running, "orders")).attributes.redrive == TO_DEAD
        await running.queues.UpdateQueue(pb.UpdateQueueRequest(name="orders", remove_redrive=True))
        found = await describe(running, "orders")
        assert not found.attributes.HasField("redrive")
        assert found.redrive_target == ""

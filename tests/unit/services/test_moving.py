"""Move tasks by name, on any node: started with what is asked for, listed, cancelled by their handles."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from broker.base.errors import (
    InvalidArgument,
    InvalidName,
    MoveTaskNotFound,
    MoveTaskNotRunning,
    MoveTaskRunning,
    NotDeadLetterQueue,
    QueueNotFound,
    RedriveTargetInvalid,
    Unavailable,
)
from broker.base.ids import DIRECTORY_GROUP, QueueId
from broker.domain.directory.commands import ActivateResource, PlaceResource
from broker.domain.queues.commands import CreateQueue, Send, StartMove
from broker.domain.queues.model import QueueAttributes, RedrivePolicy
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon, started

ONE_RECEIVE = AttributeChanges(redrive=RedrivePolicy("dead", 1))


async def with_dead_letters(cluster: FakeCluster) -> Services:
    """ "dead" has three messages; "orders" names it as its dead-letter queue."""
    services = await one_node(cluster)
    await services.queues.create("dead", AttributeChanges(), soon(cluster))
    await services.queues.create("orders", ONE_RECEIVE, soon(cluster))
    await services.queues.send("dead", pack_bodies([b"a", b"b", b"c"]), soon(cluster))
    return services


def started_moves(cluster: FakeCluster) -> list[StartMove]:
    return [command for _, command in cluster.proposals if isinstance(command, StartMove)]


async def test_a_task_is_started_listed_and_cancelled_by_its_handle() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues

    handle = await queues.start_move("dead", "", 1, soon(cluster))
    (listed,) = await queues.moves("dead", soon(cluster))
    moved = await queues.cancel_move(handle, soon(cluster))
    (after,) = await queues.moves("dead", soon(cluster))

    assert (listed.handle, listed.status, listed.destination) == (handle, "running", "")
    assert (listed.rate, listed.moved, listed.to_move, listed.failure) == (1, 0, 3, "")
    assert (moved, after.status) == (0, "cancelled")
    with pytest.raises(MoveTaskNotRunning, match="has ended already"):
        await queues.cancel_move(handle, soon(cluster))


async def test_the_newest_task_comes_first() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    first = await queues.start_move("dead", "", 1, soon(cluster))
    await queues.cancel_move(first, soon(cluster))
    second = await queues.start_move("dead", "", 2, soon(cluster))
    assert [each.handle for each in await queues.moves("dead", soon(cluster))] == [second, first]


async def test_one_task_at_a_time() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    await queues.start_move("dead", "", 1, soon(cluster))
    with pytest.raises(MoveTaskRunning, match="wait for its end, or cancel it"):
        await queues.start_move("dead", "orders", 1, soon(cluster))


async def test_a_repeated_call_starts_one_task() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    request = RequestId(b"s" * 16, 1)
    first = await queues.start_move("dead", "", 1, soon(cluster), request)
    assert await queues.start_move("dead", "", 1, soon(cluster), request) == first
    cluster.after = [Unavailable("the leader is gone")]
    cancel = RequestId(b"s" * 16, 2)
    assert await queues.cancel_move(first, soon(cluster), cancel) == 0
    assert await queues.cancel_move(first, soon(cluster), cancel) == 0
    assert len(await queues.moves("dead", soon(cluster))) == 1


@pytest.mark.parametrize("rate", [-1, 501])
async def test_a_rate_out_of_range_is_refused(rate: int) -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    with pytest.raises(InvalidArgument, match=f"a rate of {rate} messages a second is out of range: use 1 to 500"):
        await queues.start_move("dead", "", rate, soon(cluster))
    assert started_moves(cluster) == []


@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ("nowhere", "'nowhere' does not exist"),
        ("dead", "cannot be moved to itself"),
        ("orders.fifo", "of a standard queue go to a standard queue, 'orders.fifo'"),
    ],
)
async def test_a_destination_that_will_not_do_is_refused(destination: str, why: str) -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    with pytest.raises(RedriveTargetInvalid, match=why):
        await queues.start_move("dead", destination, 0, soon(cluster))
    assert started_moves(cluster) == []


async def test_a_queue_that_nobody_names_has_nowhere_to_move_back_to_but_may_move_elsewhere() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    with pytest.raises(NotDeadLetterQueue, match="'orders' is no dead-letter queue"):
        await queues.start_move("orders", "", 0, soon(cluster))
    await queues.start_move("orders", "dead", 0, soon(cluster))
    (command,) = started_moves(cluster)
    assert command.destination is not None
    assert command.destination.name == "dead"


async def test_what_is_no_queue_is_told() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    for call in (
        queues.start_move("nobody", "", 0, soon(cluster)),
        queues.start_move("nobody", "dead", 0, soon(cluster)),
        queues.moves("nobody", soon(cluster)),
        queues.dead_letter_sources("nobody", soon(cluster)),
    ):
        with pytest.raises(QueueNotFound, match="queue 'nobody' does not exist"):
            await call
    for call in (queues.start_move("a b", "", 0, soon(cluster)), queues.start_move("dead", "a b", 0, soon(cluster))):
        with pytest.raises(InvalidName):
            await call


async def test_a_handle_of_a_deleted_queue_or_of_an_unknown_task_names_no_task() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    await queues.send("dead", pack_bodies([b"more"] * 20), soon(cluster))
    handle = await queues.start_move("dead", "", 1, soon(cluster))
    for _ in range(11):
        await queues.cancel_move((await queues.moves("dead", soon(cluster)))[0].handle, soon(cluster))
        await queues.start_move("dead", "", 1, soon(cluster))
    with pytest.raises(MoveTaskNotFound, match="the last 10 are remembered"):
        await queues.cancel_move(handle, soon(cluster))
    await queues.delete("dead", soon(cluster))
    with pytest.raises(MoveTaskNotFound, match="was deleted"):
        await queues.cancel_move(handle, soon(cluster))
    with pytest.raises(InvalidArgument):
        await queues.cancel_move("nonsense", soon(cluster))


async def test_sources_are_found_in_every_group_whoever_leads_it() -> None:
    cluster = FakeCluster(nodes=3, groups=3)
    nodes = await started(cluster)
    queues = nodes["b-0"].queues
    await queues.create("dead", AttributeChanges(), soon(cluster))
    names = [f"queue-{number}" for number in range(6)]
    for name in names:
        await queues.create(name, ONE_RECEIVE, soon(cluster))
    await queues.create("other", AttributeChanges(), soon(cluster))
    cluster.elect(2, "b-0")
    cluster.elect(3, "c-0")

    assert await queues.dead_letter_sources("dead", soon(cluster)) == names
    assert await queues.dead_letter_sources("other", soon(cluster)) == []


async def test_sources_are_not_told_in_part() -> None:
    cluster = FakeCluster(nodes=3, groups=3)
    nodes = await started(cluster)
    queues = nodes["b-0"].queues
    await queues.create("dead", AttributeChanges(), soon(cluster))
    cluster.elect(3, None)
    asked = asyncio.ensure_future(queues.dead_letter_sources("dead", soon(cluster)))
    while not asked.done():
        cluster.clock.advance(500)
        await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="no leader for group 3"):
        await asked


async def test_a_queue_over_several_groups_has_one_task_made_of_one_in_each() -> None:
    cluster = FakeCluster(nodes=3, groups=3)
    nodes = await started(cluster)
    queues = nodes["b-0"].queues
    placed = cluster.apply_command(DIRECTORY_GROUP, "directory", PlaceResource("queue", "dead", stripes=3)).reply
    cluster.apply_command(DIRECTORY_GROUP, "directory", ActivateResource("queue", placed.resource.id))
    queue = QueueId(placed.resource.id)
    for group in placed.resource.groups:
        create = CreateQueue(queue, "dead", QueueAttributes(), placed.resource.groups)
        cluster.apply_command(group, "queues", create)
        cluster.apply_command(
            group, "queues", Send(queue, 2, 1, None, msgspec.Raw(msgspec.msgpack.encode([(b"a", ())] * 2)))
        )
    await queues.create("orders", ONE_RECEIVE, soon(cluster))

    handle = await queues.start_move("dead", "", 7, soon(cluster))
    (listed,) = await queues.moves("dead", soon(cluster))
    shares = sorted(command.rate for command in started_moves(cluster))
    with pytest.raises(MoveTaskRunning):
        await queues.start_move("dead", "orders", 0, soon(cluster))
    await queues.cancel_move(handle, soon(cluster))
    (after,) = await queues.moves("dead", soon(cluster))

    assert (listed.handle, listed.status, listed.rate, listed.to_move) == (handle, "running", 7, 6)
    assert (shares, after.status) == ([2, 2, 3], "cancelled")
    await queues.start_move("dead", "orders", 2, soon(cluster))
    assert [command.rate for command in started_moves(cluster)[3:]] == [1, 1, 1]


async def test_a_start_that_was_interrupted_goes_on_when_it_is_repeated() -> None:
    cluster = FakeCluster()
    queues = (await with_dead_letters(cluster)).queues
    request = RequestId(b"s" * 16, 1)
    cluster.after = [Unavailable("the leader is gone")] * 2

    handle = await queues.start_move("dead", "", 1, soon(cluster), request)

    assert len(started_moves(cluster)) == 3
    assert [each.handle for each in await queues.moves("dead", soon(cluster))] == [handle]

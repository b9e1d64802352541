"""Getting a use case done on whatever node leads, while leaders come and go."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import DeadlineExceeded, DiskFull, NotLeader, QueueNotFound, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import Millis
from broker.domain.directory.commands import Group
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import services_of, soon, started

ORDERS_GROUP = 1


async def three_nodes() -> tuple[FakeCluster, dict[str, object]]:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    return cluster, nodes  # type: ignore[return-value]


async def send(services: object, cluster: FakeCluster, seconds: int = 30) -> int:
    outgoing = pack_bodies([b"body"])
    return (await services.queues.send("orders", outgoing, soon(cluster, seconds))).accepted  # type: ignore[attr-defined]


async def test_any_node_answers_by_asking_the_leader_once() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["b-0"], cluster)
    cluster.calls.clear()

    assert await send(nodes["b-0"], cluster) == 1

    assert cluster.calls == [("b-0", "a-0", "queues.send")]


async def test_errors_of_the_leader_arrive_as_they_were_raised() -> None:
    cluster, nodes = await three_nodes()
    cluster.before = [DiskFull("the disk of a-0 is full")]
    with pytest.raises(DiskFull, match="a-0"):
        await send(nodes["b-0"], cluster)
    with pytest.raises(QueueNotFound, match="'unknown'"):
        await nodes["b-0"].queues.describe("unknown", soon(cluster))  # type: ignore[attr-defined]


async def test_a_call_follows_the_leadership() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["a-0"], cluster)
    cluster.elect(ORDERS_GROUP, "c-0")

    assert await send(nodes["a-0"], cluster) == 1
    assert cluster.calls[-1] == ("a-0", "c-0", "queues.send")


async def test_a_call_waits_for_an_election_and_is_stored_once() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["b-0"], cluster)
    cluster.elect(ORDERS_GROUP, None)
    sending = asyncio.ensure_future(send(nodes["b-0"], cluster))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not sending.done()

    cluster.elect(ORDERS_GROUP, "b-0")

    assert await sending == 1
    counts = (await nodes["b-0"].queues.describe("orders", soon(cluster))).counts  # type: ignore[attr-defined]
    assert counts.visible == 2


async def test_a_connection_that_breaks_after_the_leader_stored_does_not_store_twice() -> None:
    cluster, nodes = await three_nodes()
    cluster.after = [Unavailable("the connection to a-0 ended during the call")]

    assert await send(nodes["b-0"], cluster) == 1

    counts = (await nodes["a-0"].queues.describe("orders", soon(cluster))).counts  # type: ignore[attr-defined]
    assert counts.visible == 1


async def test_a_refusal_after_an_attempt_that_may_have_stored_is_no_promise_that_nothing_happened() -> None:
    # given an attempt that stores, and whose answer is lost
    cluster, nodes = await three_nodes()
    cluster.after = [Unavailable("the connection to a-0 ended during the call")]
    sending = asyncio.ensure_future(send(nodes["b-0"], cluster))
    while cluster.after:  # noqa: ASYNC110  # the attempt is over in some turn of the loop, which nothing announces
        await asyncio.sleep(0)

    # when the next one is refused
    cluster.before = [DiskFull("the disk of a-0 is full: nothing was sent")]

    # then that is not all that is said
    with pytest.raises(Unavailable, match="an earlier attempt is not known; the last one: the disk of a-0 is full"):
        await sending


async def waiting(services: object, cluster: FakeCluster) -> asyncio.Future[int]:
    """A send that has got as far as it gets."""
    sending = asyncio.ensure_future(send(services, cluster))
    for _ in range(20):
        await asyncio.sleep(0)
    return sending


async def test_a_node_that_reaches_too_few_replicas_refuses_soon_so_that_the_client_asks_another() -> None:
    # given a node that is cut off from the two others
    cluster, nodes = await three_nodes()
    await send(nodes["a-0"], cluster)
    cluster.down = {NodeId("b-0"), NodeId("c-0")}
    cluster.elect(ORDERS_GROUP, None)
    began = cluster.clock.now
    sending = await waiting(nodes["a-0"], cluster)

    cluster.clock.advance(300)

    # then it keeps a caller no longer, although that one would wait for thirty seconds
    with pytest.raises(Unavailable) as refused:
        await sending
    assert str(refused.value) == (
        "no leader for group 1 within 300 ms: fewer than 2 of its 3 replicas (a-0, b-0, c-0) are reachable; retry"
    )
    assert cluster.clock.now - began == 300


async def test_whoever_is_cut_off_gives_up_as_soon_before_the_connections_end() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["a-0"], cluster)
    cluster.elect(ORDERS_GROUP, None)
    cluster.silent = {NodeId("b-0"), NodeId("c-0")}
    sending = await waiting(nodes["a-0"], cluster)

    cluster.clock.advance(300)

    with pytest.raises(Unavailable, match="within 300 ms: fewer than 2 of its 3 replicas"):
        await sending


async def test_without_a_leader_among_replicas_that_are_there_the_call_is_refused_in_bounded_time() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["a-0"], cluster)
    cluster.elect(ORDERS_GROUP, None)
    began = cluster.clock.now
    sending = await waiting(nodes["a-0"], cluster)

    cluster.clock.advance(5_000)

    with pytest.raises(Unavailable, match="no leader for group 1 within 5000 ms: 3 of its 3 replicas"):
        await sending
    assert cluster.clock.now - began == 5_000


async def test_a_dead_leader_that_is_still_believed_in_is_tried_until_patience_ends() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["b-0"], cluster)
    cluster.down = {NodeId("a-0")}
    began = cluster.clock.now

    with pytest.raises(Unavailable, match="2 of its 3 replicas"):
        await send(nodes["b-0"], cluster)

    assert 5_000 <= cluster.clock.now - began <= 5_050


async def test_the_callers_deadline_ends_it_sooner() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["b-0"], cluster)
    cluster.down = {NodeId("a-0")}
    began = cluster.clock.now

    with pytest.raises(Unavailable):
        await send(nodes["b-0"], cluster, seconds=1)

    assert 1_000 <= cluster.clock.now - began <= 1_050


async def test_no_time_left_is_said_so_and_proposes_nothing() -> None:
    cluster, nodes = await three_nodes()
    for node in ("a-0", "b-0"):
        await send(nodes[node], cluster)
        cluster.proposals.clear()
        with pytest.raises(DeadlineExceeded):
            await send(nodes[node], cluster, seconds=0)
        assert cluster.proposals == []


async def test_a_node_without_a_replica_asks_those_that_have_one() -> None:
    cluster = FakeCluster(nodes=4, groups=1)
    cluster.groups = tuple(
        Group(group.id, tuple(node for node in group.replicas if node != "d-0"), group.preferred_leader)
        for group in cluster.groups
    )
    cluster.replicas = {(group, node) for group, node in cluster.replicas if node != "d-0"}
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.elect(ORDERS_GROUP, "c-0")

    assert await send(nodes["d-0"], cluster) == 1

    asked = [to for by, to, method in cluster.calls if by == "d-0" and method == "queues.send"]
    assert asked[0] == "a-0"
    assert asked[-1] == "c-0"


async def test_a_forwarded_call_is_not_forwarded_again() -> None:
    cluster, _ = await three_nodes()
    services_of_b = cluster.on[NodeId("b-0")]
    handler = services_of_b.handlers["directory.topology"]
    payload = b"\x93\x00\xcd\x03\xe8\x91\x04"  # group 0, 1000 ms, Topology()
    before = len(cluster.calls)

    with pytest.raises(NotLeader) as refused:
        await handler(payload)

    assert refused.value.leader == "a-0"
    assert len(cluster.calls) == before


async def test_the_configuration_must_name_the_directorys_group() -> None:
    cluster = FakeCluster()
    cluster.groups = tuple(group for group in cluster.groups if group.id != GroupId(0))
    with pytest.raises(ValueError, match="directory"):
        services_of(cluster)


async def test_time_left_travels_with_the_call() -> None:
    cluster, nodes = await three_nodes()
    await send(nodes["b-0"], cluster)
    polling = asyncio.ensure_future(
        nodes["b-0"].queues.receive("orders", 10, soon(cluster, 2), Millis(20_000))  # type: ignore[attr-defined]
    )
    await asyncio.sleep(0)
    taken = (await polling).messages
    assert len(taken) == 1
    polling = asyncio.ensure_future(
        nodes["b-0"].queues.receive("orders", 10, soon(cluster, 2), Millis(20_000))  # type: ignore[attr-defined]
    )
    await cluster.polls(1)

    cluster.clock.advance(1_500)  # what is left after the reserve for the receive itself

    assert (await polling).messages == []

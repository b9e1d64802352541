"""Operators' wishes and lost replicas, carried out step by step over several nodes' services."""

from __future__ import annotations

import pytest

from broker.base.errors import Conflict, InvalidArgument, NodeNotFound
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId, Zone
from broker.domain.directory.commands import BeginChange, Change, Group, Node, SetDuty
from broker.domain.queues.model import PER_MESSAGE_GROUP
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.orders import DropOrder, OpenOrder
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import services_of, soon, started

A, B, C, A1 = (NodeId(name) for name in ("a-0", "b-0", "c-0", "a-1"))
THREE = GroupId(3)
FAST = AttributeChanges(deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP)
NEW = Node(A1, Zone("a"), "a-1:4101", "a-1:4001", "a-1:4201")


async def three_and_one() -> tuple[FakeCluster, dict[str, Services]]:
    """Three nodes with two data groups, and a fourth one in zone a that was added."""
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    cluster.start(NEW)
    nodes["a-1"] = services_of(cluster, "a-1")
    await nodes["b-0"].membership.add_node(NEW, soon(cluster))
    return cluster, nodes


async def heal(nodes: dict[str, Services], looks: int = 60) -> None:
    """Everybody looks in turn, as the loops of a cluster do, until there is nothing to do."""
    for _ in range(looks):
        if not any([await services.healer.look() for services in nodes.values()]):
            return
    raise AssertionError("the healer does not come to an end")


def held(cluster: FakeCluster, node: NodeId) -> list[int]:
    return sorted(group for group, holder in cluster.replicas if holder == node)


async def test_a_replica_moves_and_the_one_before_is_dropped() -> None:
    # given a group that is led elsewhere than where it moves from
    cluster, nodes = await three_and_one()
    cluster.elect(1, "b-0")

    # when an operator moves its replica
    await nodes["c-0"].membership.move(GroupId(1), A, A1, soon(cluster))
    await heal(nodes)

    # then the new node votes, and the other one has nothing left of it
    assert cluster.voters[GroupId(1)] == (A1, B, C)
    assert held(cluster, A) == [0, 2]
    assert held(cluster, A1) == [1]


async def test_one_move_at_a_time_and_only_to_who_is_there() -> None:
    cluster, nodes = await three_and_one()
    cluster.down.add(A1)
    with pytest.raises(InvalidArgument, match="a-1 does not answer"):
        await nodes["a-0"].membership.move(GroupId(1), A, A1, soon(cluster))
    cluster.down.clear()
    await nodes["a-0"].membership.move(GroupId(1), A, A1, soon(cluster))
    with pytest.raises(Conflict, match="a replica of group 1 is on its way"):
        await nodes["a-0"].membership.move(GroupId(2), A, A1, soon(cluster))
    with pytest.raises(Conflict, match="a replica of group 1 is on its way"):
        await nodes["a-0"].membership.balance(soon(cluster))


async def test_a_leader_that_is_to_go_hands_over_first() -> None:
    # given a node that leads all groups
    cluster, nodes = await three_and_one()

    # when it is removed
    await nodes["b-0"].membership.remove(A, None, soon(cluster))
    await heal(nodes)

    # then others lead, the new node has its replicas, and the cluster has forgotten it
    assert held(cluster, A) == []
    assert held(cluster, A1) == [0, 1, 2]
    assert A not in cluster.leaders.values()
    topology = await nodes["b-0"].membership._directory.topology(soon(cluster))
    assert [node.id for node in topology.nodes] == [A1, B, C]


async def test_nobody_goes_who_leaves_a_group_without_a_replica() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    with pytest.raises(InvalidArgument, match=r"a-0 cannot go: groups 0, 1, 2 .* zone a has no other active node"):
        await nodes["a-0"].membership.drain(A, soon(cluster))
    with pytest.raises(NodeNotFound, match="no node 'z-9' in this cluster: it has a-0, b-0, c-0"):
        await nodes["a-0"].membership.remove(NodeId("z-9"), None, soon(cluster))


async def test_an_address_belongs_to_one_node() -> None:
    cluster, nodes = await three_and_one()
    other = Node(NodeId("b-1"), Zone("b"), NEW.peer_address, "b-1:4001")
    with pytest.raises(InvalidArgument, match="a-1:4101 is the peer address of a-1: give b-1 its own"):
        await nodes["a-0"].membership.add_node(other, soon(cluster))


async def test_a_lost_replica_is_out_before_it_is_in_again() -> None:
    # given a node that holds nothing of group 2 any more, although it votes there
    cluster, nodes = await three_and_one()
    cluster.replicas.discard((GroupId(2), B))
    steps: list[tuple[tuple[NodeId, ...], bool]] = []

    # when it heals
    for _ in range(20):
        await nodes["a-0"].healer.look()
        steps.append((cluster.voters[GroupId(2)], (GroupId(2), B) in cluster.replicas))

    # then it has not voted with its new replica before it was out
    assert ((A, C), True) in steps
    assert steps.index(((A, C), False)) < steps.index(((A, C), True)) < steps.index(((A, B, C), True))
    assert steps[-1] == ((A, B, C), True)


async def test_nodes_are_evened_out_one_move_after_the_other() -> None:
    # given a node without replicas
    cluster, nodes = await three_and_one()
    begun = []

    # when the operator balances until there is nothing to do
    while (move := await nodes["c-0"].membership.balance(soon(cluster))) is not None:
        begun.append(move)
        await heal(nodes)

    # then the nodes of the zone have as many, give or take one
    assert begun == ["group 1: a-0 -> a-1 (a-0 has 3 replicas, a-1 0)"]
    assert (held(cluster, A), held(cluster, A1)) == ([0, 2], [1])


async def test_further_groups_are_formed() -> None:
    cluster, nodes = await three_and_one()
    await nodes["b-0"].membership.add_groups(1, soon(cluster))
    await heal(nodes)
    assert cluster.voters[GroupId(3)] == (A1, B, C)
    topology = await nodes["a-0"].membership._directory.topology(soon(cluster))
    assert [group.forming for group in topology.groups] == [False] * 4


async def test_who_should_lead_is_given_the_leadership() -> None:
    cluster, nodes = await three_and_one()
    await nodes["c-0"].membership.transfer_leader(GroupId(1), C, soon(cluster))
    assert cluster.leaders[GroupId(1)] == C
    with pytest.raises(InvalidArgument, match="a-1 has no replica of group 1"):
        await nodes["c-0"].membership.transfer_leader(GroupId(1), A1, soon(cluster))


async def test_an_order_that_the_directory_does_not_bear_out_is_refused() -> None:
    # given nodes as the directory wants them
    cluster, nodes = await three_and_one()
    orders = nodes["a-0"].healer._orders

    # then none opens or drops what it should not, whoever says so
    with pytest.raises(Conflict, match="a-1 is not to have a replica of group 1 now"):
        await orders.order(A1, OpenOrder(GroupId(1), (A, B, C)), soon(cluster))
    with pytest.raises(Conflict, match="b-0 keeps its replica of group 1"):
        await orders.order(B, DropOrder(GroupId(1)), soon(cluster))

    # and a node that is to get one does not found the group with itself
    cluster.apply_command(DIRECTORY_GROUP, "directory", BeginChange(GroupId(1), Change(A, A1, "a test")))
    with pytest.raises(Conflict, match="a-1 is not to have"):
        await orders.order(A1, OpenOrder(GroupId(1), (A1, B, C)), soon(cluster))


async def test_a_node_that_dies_is_replaced_after_a_while_and_not_before() -> None:
    # given a spare node, and one that is silent
    cluster, nodes = await three_and_one()
    cluster.elect(0, "b-0")
    cluster.elect(1, "b-0")
    cluster.elect(2, "b-0")
    await nodes["b-0"].healer.look()
    cluster.down.add(A)

    # when it has been so for a minute, then it is waited for
    cluster.clock.advance(60_000)
    assert not await nodes["b-0"].healer.look()

    # when it has been so for five, then its replicas go to the spare
    cluster.clock.advance(240_000)
    del nodes["a-0"]
    await heal(nodes)
    assert held(cluster, A1) == [0, 1, 2]


async def test_a_change_is_taken_back_when_who_should_get_the_replica_is_gone() -> None:
    # given a move that has got as far as a learner
    cluster, nodes = await three_and_one()
    cluster.lag[GroupId(1), A1] = 1 << 20
    await nodes["a-0"].membership.move(GroupId(1), A, A1, soon(cluster))
    for _ in range(4):
        await nodes["a-0"].healer.look()
    assert cluster.learners[GroupId(1)] == (A1,)

    # when the new node falls silent for long
    cluster.down.add(A1)
    cluster.clock.advance(60_000)
    for _ in range(4):
        await nodes["a-0"].healer.look()

    # then everything is as before
    assert (cluster.voters[GroupId(1)], cluster.learners[GroupId(1)]) == ((A, B, C), ())
    topology = await nodes["a-0"].membership._directory.topology(soon(cluster))
    assert all(group.change is None for group in topology.groups)


async def test_a_drained_node_takes_replicas_again_when_it_is_told_to() -> None:
    cluster, nodes = await three_and_one()
    await nodes["a-0"].membership.drain(A1, soon(cluster))
    cluster.apply_command(DIRECTORY_GROUP, "directory", SetDuty(A1, "draining"))
    assert await nodes["a-0"].membership.balance(soon(cluster)) is None
    await nodes["a-0"].membership.resume(A1, soon(cluster))
    assert await nodes["a-0"].membership.balance(soon(cluster)) is not None


async def test_what_cannot_heal_by_itself_is_said_in_words() -> None:
    # given a group that has lost two of its replicas, and has no leader
    cluster, nodes = await three_and_one()
    cluster.elect(2, None)
    cluster.replicas -= {(GroupId(2), A), (GroupId(2), B)}
    await nodes["a-0"].healer.look()

    # then the leader of the directory says so
    (sentence,) = nodes["a-0"].cluster._report().trouble
    assert sentence.startswith("group 2 cannot elect a leader: a-0, b-0 lost their replicas, c-0 is left.")

    # when they are back, then it says nothing more
    cluster.replicas |= {(GroupId(2), A), (GroupId(2), B)}
    cluster.elect(2, "c-0")
    await nodes["a-0"].healer.look()
    assert nodes["a-0"].cluster._report().trouble == ()


async def losing_what_forms() -> tuple[FakeCluster, dict[str, Services]]:
    """Group 3 has its first two replicas, on a-1 and b-0; that of b-0 is lost, and a-1 is away."""
    cluster, nodes = await three_and_one()
    await nodes["b-0"].membership.add_groups(1, soon(cluster))
    while cluster.voters.get(THREE) != (A1, B):
        await nodes["a-0"].healer.look()
    cluster.replicas.discard((THREE, B))
    cluster.elect(3, None)
    cluster.down.add(A1)
    return cluster, nodes


async def looks(services: Services, cluster: FakeCluster, seconds: int) -> None:
    """So many, one a second."""
    for _ in range(seconds):
        cluster.clock.advance(1_000)
        await services.healer.look()


async def test_a_group_that_cannot_be_formed_is_given_up_and_another_one_takes_its_place() -> None:
    cluster, nodes = await losing_what_forms()
    away = nodes.pop("a-1")

    # when it has had no leader for a while, and not before
    await looks(nodes["a-0"], cluster, 14)
    assert [group.id for group in await groups_of(nodes, cluster)] == [0, 1, 2, 3]
    await looks(nodes["a-0"], cluster, 3)
    assert [group.id for group in await groups_of(nodes, cluster)] == [0, 1, 2, 4]

    # then another one is formed of those that are there, and nothing is wrong any more
    await heal(nodes)
    assert cluster.voters[GroupId(4)] == (A, B, C)
    assert [group.forming for group in await groups_of(nodes, cluster)] == [False] * 4
    assert nodes["a-0"].cluster._report().trouble == ()

    # when who was away comes back, then it is told to drop what it has of the first, which is not shown meanwhile
    cluster.down.clear()
    await nodes["a-0"].controller.round()
    assert (THREE, A1) in cluster.replicas
    assert [view.group for view in (await nodes["a-0"].cluster.status()).groups] == [0, 1, 2, 4]
    await heal({**nodes, "a-1": away})
    assert held(cluster, A1) == []


async def test_a_replica_of_a_group_that_the_directory_never_heard_of_stays() -> None:
    """A directory that knows less than there is must not delete what it does not know."""
    cluster, nodes = await losing_what_forms()
    nodes.pop("a-1")
    await looks(nodes["a-0"], cluster, 17)
    await heal(nodes)
    cluster.replicas.add((GroupId(9), B))
    cluster.machines[GroupId(9)] = cluster.machines[THREE]
    cluster.voters[GroupId(9)], cluster.learners[GroupId(9)], cluster.leaders[GroupId(9)] = (B,), (), None
    orders = nodes["a-0"].healer._orders

    await heal(nodes)
    with pytest.raises(Conflict, match="b-0 keeps its replica of group 9"):
        await orders.order(B, DropOrder(GroupId(9)), soon(cluster))
    assert held(cluster, B) == [0, 1, 2, 4, 9]

    # and an order to found or follow a group that was given up meanwhile comes too late
    for voters in ((B,), (A1,)):
        with pytest.raises(Conflict, match="b-0 is not to have a replica of group 3 now"):
            await orders.order(B, OpenOrder(THREE, voters), soon(cluster))


async def test_a_founder_that_has_lost_its_replica_does_not_found_the_group_again_once_another_may_have_one() -> None:
    # given an order to found group 3 that was on its way for long, and a second replica meanwhile
    cluster, nodes = await losing_what_forms()
    cluster.down.clear()
    cluster.replicas.discard((THREE, A1))
    assert [group.replicas for group in await groups_of(nodes, cluster)][3] == (A1,)
    # then it is refused, although the directory does not know yet that there is another voter
    with pytest.raises(Conflict, match="a-1 is not to have a replica of group 3 now"):
        await nodes["a-0"].healer._orders.order(A1, OpenOrder(THREE, (A1,)), soon(cluster))
    # and the group is given up at once: it cannot go on
    await nodes["a-0"].healer.look()
    assert [group.id for group in await groups_of(nodes, cluster)] == [0, 1, 2, 4]


async def test_while_a_group_is_being_formed_without_a_leader_other_calls_do_not_wait_for_it() -> None:
    cluster, nodes = await losing_what_forms()
    queues = nodes["c-0"].queues
    await queues.create("dead", AttributeChanges(), soon(cluster))
    assert await queues.dead_letter_sources("dead", soon(cluster)) == []

    # and a queue that is spread from the beginning is spread over those that are formed
    await nodes["c-0"].controller.round()
    await queues.create("fast.fifo", FAST, soon(cluster))
    assert (await queues.describe("fast.fifo", soon(cluster))).queue.attributes.stripes == 2


async def groups_of(nodes: dict[str, Services], cluster: FakeCluster) -> tuple[Group, ...]:
    topology = await nodes["c-0"].membership._directory.topology(soon(cluster))
    return topology.groups

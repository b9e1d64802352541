"""Placement and balance over clusters of every shape: zones stay apart, work is even, nothing depends on order."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.ids import GroupId, NodeId, Zone
from broker.domain.directory.balance import Transfer, next_transfer
from broker.domain.directory.commands import Group, Node
from broker.domain.directory.placement import place


def cluster(sizes: list[int]) -> list[Node]:
    return [
        Node(NodeId(f"{zone}-{number}"), Zone(zone), "", "")
        for zone, size in zip("abcdef", sizes, strict=False)
        for number in range(size)
    ]


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=6)
even_shapes = st.builds(lambda size, zones: [size] * zones, st.integers(1, 4), st.integers(1, 6))
counts = st.integers(0, 30)


def loads(nodes: list[Node], placed: tuple[Group, ...]) -> dict[str, int]:
    return {node.id: sum(node.id in group.replicas for group in placed) for node in nodes}


def leaderships(nodes: list[Node], placed: tuple[Group, ...]) -> dict[str, int]:
    return {node.id: sum(node.id == group.preferred_leader for group in placed) for node in nodes}


@given(sizes=shapes, groups=counts)
def test_replicas_of_a_group_are_in_distinct_zones(sizes: list[int], groups: int) -> None:
    nodes = cluster(sizes)
    zone_of = {node.id: node.zone for node in nodes}
    placed = place(nodes, groups)
    assert [group.id for group in placed] == list(range(groups))
    for group in placed:
        assert len(group.replicas) == len({zone_of[each] for each in group.replicas}) == min(3, len(sizes))
        assert list(group.replicas) == sorted(group.replicas)
        assert group.preferred_leader in group.replicas


@given(sizes=shapes, groups=counts)
def test_within_a_zone_replicas_are_spread_evenly(sizes: list[int], groups: int) -> None:
    nodes = cluster(sizes)
    load = loads(nodes, place(nodes, groups))
    for zone in {node.zone for node in nodes}:
        of_zone = [load[node.id] for node in nodes if node.zone == zone]
        assert max(of_zone) - min(of_zone) <= 1


@given(sizes=even_shapes, groups=counts)
def test_over_zones_of_equal_size_replicas_and_leaders_are_spread_evenly(sizes: list[int], groups: int) -> None:
    nodes = cluster(sizes)
    placed = place(nodes, groups)
    for burden in (loads(nodes, placed), leaderships(nodes, placed)):
        assert max(burden.values()) - min(burden.values()) <= 1


@given(sizes=shapes, groups=st.integers(0, 12))
def test_leaders_are_as_even_as_the_replica_sets_allow(sizes: list[int], groups: int) -> None:
    """No set of nodes leads more than its share while its groups could be led by others (Hall's condition)."""
    nodes = cluster(sizes)[:8]
    placed = place(nodes, groups)
    burden = leaderships(nodes, placed)
    most = max(burden.values())
    names = list(burden)
    bound_to = (
        -(-sum(set(group.replicas) <= set(chosen) for group in placed) // size)
        for size in range(1, len(names) + 1)
        for chosen in combinations(names, size)
    )
    assert most == max(bound_to)


@given(sizes=shapes, groups=counts, data=st.data())
def test_the_order_of_the_nodes_does_not_matter(sizes: list[int], groups: int, data: st.DataObject) -> None:
    nodes = cluster(sizes)
    assert place(data.draw(st.permutations(nodes)), groups) == place(nodes, groups)


@given(sizes=shapes, groups=counts, more=st.integers(1, 5))
def test_more_groups_move_no_replica_of_the_others(sizes: list[int], groups: int, more: int) -> None:
    nodes = cluster(sizes)
    before, after = place(nodes, groups), place(nodes, groups + more)
    assert [group.replicas for group in before] == [group.replicas for group in after[:groups]]


def test_a_single_node_holds_everything_alone() -> None:
    assert place(cluster([1]), 2) == tuple(Group(GroupId(number), (NodeId("a-0"),), NodeId("a-0")) for number in (0, 1))


def test_without_nodes_there_is_nowhere_to_place() -> None:
    with pytest.raises(ValueError, match="no nodes"):
        place([], 1)


@given(sizes=shapes, groups=counts, data=st.data())
def test_single_transfers_lead_to_the_preferred_leaders(sizes: list[int], groups: int, data: st.DataObject) -> None:
    placed = place(cluster(sizes), groups)
    leaders = {group.id: data.draw(st.sampled_from(group.replicas)) for group in placed}
    ready = {group.id: group.replicas for group in placed}
    steps = 0
    while (step := next_transfer(placed, leaders, ready)) is not None:
        assert leaders[step.group] == step.giver != step.taker
        leaders[step.group] = step.taker
        steps += 1
        assert steps <= groups
    assert leaders == {group.id: group.preferred_leader for group in placed}


@given(sizes=shapes, groups=counts, data=st.data())
def test_a_transfer_only_goes_to_a_node_that_is_ready_for_it(
    sizes: list[int], groups: int, data: st.DataObject
) -> None:
    placed = place(cluster(sizes), groups)
    leaders = {group.id: data.draw(st.sampled_from(group.replicas)) for group in placed if data.draw(st.booleans())}
    ready = {group.id: data.draw(st.sets(st.sampled_from(group.replicas))) for group in placed}
    step = next_transfer(placed, leaders, ready)
    possible = {
        Transfer(group.id, leaders[group.id], group.preferred_leader)
        for group in placed
        if group.id in leaders
        and leaders[group.id] != group.preferred_leader
        and group.preferred_leader in ready[group.id]
    }
    assert (step in possible) if possible else (step is None)


def test_the_node_with_most_leaderships_is_relieved_first() -> None:
    members = (NodeId("a-0"), NodeId("b-0"), NodeId("c-0"))
    placed = tuple(Group(GroupId(number), members, members[2]) for number in range(4))
    leaders = dict(zip(map(GroupId, range(4)), (members[0], members[1], members[1], members[2]), strict=True))
    ready = {group.id: members for group in placed}
    assert next_transfer(placed, leaders, ready) == Transfer(GroupId(1), members[1], members[2])

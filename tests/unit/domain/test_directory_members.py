"""Nodes and groups in the directory: duties, changes of replicas, further groups."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.ids import GroupId, NodeId, Zone
from broker.base.instants import WallMillis
from broker.domain.directory import commands
from broker.domain.directory.commands import Change, Done, Group, Node
from broker.domain.directory.machine import DirectoryMachine
from tests.unit.domain.test_directory_machine import DirectoryLog, node, refusal_of

A, B, C, D = (NodeId(name) for name in ("a-0", "b-0", "c-0", "d-0"))
A1 = NodeId("a-1")


def in_zone(name: str, zone: str) -> Node:
    return Node(NodeId(name), Zone(zone), f"{name}:1", f"{name}:2")


def group(log: DirectoryLog, number: int) -> Group:
    return next(each for each in log.ask(commands.Topology()).groups if each.id == number)


def begin(log: DirectoryLog, out: NodeId | None, into: NodeId | None, number: int = 1) -> Any:
    return log.apply(commands.BeginChange(GroupId(number), Change(out, into, "a test")))


def test_a_node_cannot_say_its_own_duty() -> None:
    # given a node that drains
    log = DirectoryLog()
    assert log.apply(commands.SetDuty(A, "draining")) == Done()

    # when it restarts and registers
    log.apply(commands.RegisterNode(node("a-0", 9)))

    # then it still drains, with its new address
    found = log.ask(commands.Topology()).nodes[0]
    assert (found.duty, found.peer_address) == ("draining", "a-0:9")


def test_a_successor_is_another_active_node_of_the_zone() -> None:
    log = DirectoryLog()
    log.apply(commands.AddNode(node("a-1")))
    assert refusal_of(log.apply(commands.SetDuty(A, "leaving", B))) == "InvalidArgument"
    assert refusal_of(log.apply(commands.SetDuty(A, "leaving", A))) == "InvalidArgument"
    assert refusal_of(log.apply(commands.SetDuty(A, "leaving", NodeId("a-9")))) == "NodeNotFound"
    assert refusal_of(log.apply(commands.SetDuty(A, "resting"))) == "InvalidArgument"
    assert log.apply(commands.SetDuty(A, "leaving", A1)) == Done()


def test_a_node_is_forgotten_when_it_has_nothing_left() -> None:
    # given a node that leaves
    log = DirectoryLog()
    log.apply(commands.AddNode(node("a-1")))
    assert refusal_of(log.apply(commands.ForgetNode(A))) == "InvalidArgument"
    log.apply(commands.SetDuty(A, "leaving"))
    assert refusal_of(log.apply(commands.ForgetNode(A))) == "InvalidArgument"

    # when all its replicas have moved
    for number in (0, 1, 2):
        assert begin(log, A, A1, number) == Done()
        assert log.apply(commands.EndChange(GroupId(number), (A1, B, C))) == Done()

    # then it can be forgotten, once and again, and cannot come back by itself
    assert log.apply(commands.ForgetNode(A)) == Done()
    assert log.apply(commands.ForgetNode(A)) == Done()
    assert [each.id for each in log.ask(commands.Topology()).nodes] == [A1, B, C]
    assert refusal_of(log.apply(commands.RegisterNode(node("a-0")))) == "NodeNotFound"


def test_one_replica_of_a_group_moves_at_a_time_and_zones_are_respected() -> None:
    log = DirectoryLog()
    log.apply(commands.AddNode(node("a-1")))
    log.apply(commands.AddNode(node("d-0")))
    assert refusal_of(begin(log, D, A1)) == "Conflict"
    assert refusal_of(begin(log, A, B)) == "Conflict"
    assert refusal_of(begin(log, B, A1)) == "InvalidArgument"
    assert refusal_of(begin(log, None, A1)) == "InvalidArgument"
    assert refusal_of(begin(log, None, None)) == "InvalidArgument"
    assert refusal_of(begin(log, A, NodeId("x"))) == "NodeNotFound"
    assert refusal_of(begin(log, A, A1, 7)) == "InvalidArgument"

    # when one is on its way
    assert begin(log, A, A1) == Done()

    # then no other may go, and both ends count as places of the group
    assert refusal_of(begin(log, B, D)) == "Conflict"
    assert group(log, 1).everywhere == (A, B, C, A1)
    assert group(log, 1).change == Change(A, A1, "a test", WallMillis(1000))


def test_the_last_replica_cannot_be_taken_away() -> None:
    log = DirectoryLog(bootstrapped=False)
    log.apply(commands.Bootstrap((node("a-0"),), (Group(GroupId(0), (A,), A), Group(GroupId(1), (A,), A))))
    assert refusal_of(begin(log, A, None)) == "InvalidArgument"


def test_a_group_that_loses_its_preferred_leader_gets_the_one_with_the_least_to_lead() -> None:
    # given three groups, two of which should be led by a-0, one by b-0
    log = DirectoryLog()
    log.apply(commands.AddNode(node("a-1")))
    log.apply(commands.PreferLeader(GroupId(2), B))
    assert refusal_of(log.apply(commands.PreferLeader(GroupId(2), A1))) == "InvalidArgument"

    # when a replica of a-0 moves
    begin(log, A, A1)
    log.apply(commands.EndChange(GroupId(1), (C, A1, B)))

    # then a node that leads nothing takes over, and a second end changes nothing
    assert group(log, 1) == Group(GroupId(1), (A1, B, C), C)
    log.apply(commands.EndChange(GroupId(1), (A, B, C)))
    assert group(log, 1).replicas == (A1, B, C)


def test_further_groups_take_nothing_until_they_are_formed() -> None:
    # given two further groups on a cluster to which nodes were added
    log = DirectoryLog()
    log.apply(commands.AddNode(in_zone("a-1", "a")))
    log.apply(commands.AddNode(in_zone("b-1", "b")))
    assert refusal_of(log.apply(commands.AddGroups(0))) == "InvalidArgument"
    assert refusal_of(log.apply(commands.AddGroups(999))) == "InvalidArgument"
    assert log.apply(commands.AddGroups(2)) == Done()

    # then each begins on one node, where there is least
    assert group(log, 3).replicas == (A1,)
    assert group(log, 4).replicas == (NodeId("b-1"),)
    assert group(log, 3).forming

    # and nothing is placed there until they are formed
    assert [log.place(name).group for name in ("p", "q", "r")] == [1, 2, 1]
    log.apply(commands.GroupFormed(GroupId(3)))
    assert log.place("s").group == 3


def test_what_is_under_way_survives_a_dump() -> None:
    # given a change, a duty and a forming group
    log = DirectoryLog()
    log.apply(commands.AddNode(node("a-1")))
    log.apply(commands.SetDuty(A, "leaving", A1))
    begin(log, A, A1)
    log.apply(commands.AddGroups(1))

    # when the machine is loaded from its dump
    other = DirectoryLog(bootstrapped=False)
    other.machine.load(log.machine.dump())

    # then it knows the same, and goes on from there
    assert other.ask(commands.Topology()) == log.ask(commands.Topology())
    other.apply(commands.EndChange(GroupId(1), (A1, B, C)))
    assert group(other, 1).replicas == (A1, B, C)


def test_who_goes_is_given_no_leadership() -> None:
    # given a node that should lead all groups
    log = DirectoryLog()
    log.apply(commands.AddNode(node("a-1")))
    assert {each.preferred_leader for each in log.ask(commands.Topology()).groups} == {A}

    # when one of its replicas begins to move, then another one should lead that group
    begin(log, A, A1)
    assert group(log, 1).preferred_leader == B
    assert group(log, 2).preferred_leader == A

    # when it drains, then none is for it, but evenly for the others
    log.apply(commands.SetDuty(A, "draining"))
    assert sorted(each.preferred_leader for each in log.ask(commands.Topology()).groups) == [B, B, C]

    # when only its own replica is given anew, then it keeps what it leads
    begin(log, B, B, 2)
    assert group(log, 2).preferred_leader in {B, C}


def test_a_new_node_gets_leaderships_with_its_replicas() -> None:
    # given a-0 that should lead all three groups
    log = DirectoryLog()
    log.apply(commands.AddNode(node("b-1")))

    # when replicas of b-0 move to a new node
    for number in (0, 1, 2):
        begin(log, B, NodeId("b-1"), number)
        log.apply(commands.EndChange(GroupId(number), (A, NodeId("b-1"), C)))

    # then the new node and the others share
    assert sorted(each.preferred_leader for each in log.ask(commands.Topology()).groups) == [A, NodeId("b-1"), C]


def test_a_group_that_is_being_formed_is_retired_and_another_one_takes_its_place() -> None:
    # given a group that is being formed
    log = DirectoryLog()
    log.apply(commands.AddGroups(1))
    assert group(log, 3).alone
    assert begin(log, None, C, 3) == Done()
    assert not group(log, 3).alone

    # when it is given up, once and again
    assert log.apply(commands.RetireGroup(GroupId(3), C)) == Done()
    assert log.apply(commands.RetireGroup(GroupId(3), B)) == Done()

    # then one other is founded in its place, and what was said of the first comes too late
    topology = log.ask(commands.Topology())
    assert (topology.groups[-1], topology.retired) == (Group(GroupId(4), (C,), C, forming=True, alone=True), (3,))
    assert refusal_of(log.apply(commands.GroupFormed(GroupId(3)))) == "InvalidArgument"
    assert refusal_of(log.apply(commands.EndChange(GroupId(3), (A, B)))) == "InvalidArgument"
    assert refusal_of(begin(log, None, C, 3)) == "InvalidArgument"

    # and no group gets its number, not even after a restart when it was the last
    log.apply(commands.RetireGroup(GroupId(4), A))
    log.apply(commands.RetireGroup(GroupId(5), A))
    other = DirectoryLog(bootstrapped=False)
    other.machine.load(log.machine.dump())
    other.apply(commands.AddGroups(1))
    assert [each.id for each in other.ask(commands.Topology()).groups] == [0, 1, 2, 6, 7]
    assert other.ask(commands.Topology()).retired == (3, 4, 5)


def test_a_group_that_may_hold_something_is_never_retired() -> None:
    # given a group that was formed meanwhile, and some that always were
    log = DirectoryLog()
    log.apply(commands.AddGroups(1))
    log.apply(commands.GroupFormed(GroupId(3)))
    assert not group(log, 3).alone

    # then none of them is given up, nor one that never was, nor for a founder that founds nothing
    for number in (0, 1, 3):
        assert refusal_of(log.apply(commands.RetireGroup(GroupId(number), A))) == "Conflict"
    assert refusal_of(log.apply(commands.RetireGroup(GroupId(9), A))) == "InvalidArgument"
    log.apply(commands.AddGroups(1))
    log.apply(commands.SetDuty(A, "draining"))
    assert refusal_of(log.apply(commands.RetireGroup(GroupId(4), A))) == "InvalidArgument"
    assert refusal_of(log.apply(commands.RetireGroup(GroupId(4), D))) == "NodeNotFound"
    assert log.ask(commands.Topology()).retired == ()


def test_without_a_node_that_takes_replicas_no_group_is_added() -> None:
    """Every replica of the directory ended with an exception, and again after each restart."""
    log = DirectoryLog()
    for each in (A, B, C):
        log.apply(commands.SetDuty(each, "draining"))
    assert refusal_of(log.apply(commands.AddGroups(1))) == "InvalidArgument"


def test_a_dump_of_the_version_without_retired_groups_loads() -> None:
    nodes = [["a-0", "a", "a:1", "a:2", "", "active", None]]
    groups = [[0, ["a-0"], "a-0", None, False], [1, ["a-0"], "a-0", None, True]]
    machine = DirectoryMachine()
    machine.load([msgspec.msgpack.encode([3, 8, nodes, groups, 0, 5])])

    found = machine.query(commands.Topology(), WallMillis(2000))
    assert found.groups == (Group(GroupId(0), (A,), A), Group(GroupId(1), (A,), A, forming=True))
    assert found.retired == ()

"""Lives of nodes: what is remembered of them, and who is refused."""

from __future__ import annotations

from itertools import count

from broker.base.errors import BrokerError
from broker.base.ids import GroupId, NodeId, Zone
from broker.domain.directory.commands import Group, Node, TopologyAnswer
from broker.node.memory import IDENTITY, MAX_LIVES, Memory
from broker.storage import small_files
from broker.transport.mesh import Life
from tests.simulation.fake_disk import FakeDisk
from tests.unit.storage.small_store import new_disk

A, B = NodeId("a-0"), NodeId("b-0")
_numbers = count(1)


def start(disk: FakeDisk, node: NodeId = A, told: list[BrokerError] | None = None) -> Memory:
    def disowned(_: str, error: BrokerError) -> None:
        if told is not None:
            told.append(error)

    return Memory(disk, node, lambda: f"id-{next(_numbers)}", disowned)


def test_every_start_of_a_directory_is_one_more_boot_of_one_incarnation() -> None:
    disk = new_disk()
    first, second = start(disk).life, start(disk).life
    assert (first.boot, second.boot) == (1, 2)
    assert first.incarnation == second.incarnation
    assert first.process != second.process
    assert start(new_disk()).life.incarnation != first.incarnation


def test_a_restarted_node_and_one_with_a_new_directory_are_welcome() -> None:
    # given a peer that was met
    disk = new_disk()
    first = start(disk)
    memory = start(new_disk(2), B)
    memory.met(A, first.life)

    # when it restarts, and later comes back empty
    restarted, replaced = start(disk), start(new_disk(3))

    # then neither of the two has anything against it
    for newer in (restarted, replaced):
        assert newer.own_objection(B, memory.remembered(A)) is None
        assert memory.objection(A, newer.life) is None
        memory.met(A, newer.life)
        assert memory.incarnation_of(A) == newer.life.incarnation


def test_an_old_copy_finds_out_however_often_it_is_started() -> None:
    # given a copy of a directory, and a peer that has met it since
    disk, copy = new_disk(), new_disk(3)
    start(disk)
    small_files.write(copy, IDENTITY, small_files.read(disk, IDENTITY) or b"")
    memory = start(new_disk(2), B)
    memory.met(A, start(disk).life)

    # then the copy does not remember what was met, at its first start and later
    for _ in range(3):
        old = start(copy)
        reason = old.own_objection(B, memory.remembered(A))
        assert reason is not None
        assert "the data directory of a-0 is an old copy: b-0 has met start 2 of it, which this one does not" in reason

    # and the true one does
    assert start(disk).own_objection(B, memory.remembered(A)) is None


def test_a_directory_of_before_the_node_came_back_empty_is_refused() -> None:
    # given a peer that came back with an empty directory
    own, disk = new_disk(2), new_disk()
    memory = start(own, B)
    memory.met(A, start(disk).life)
    memory.met(A, start(new_disk(3)).life)

    # when the one before is mounted again, also after a restart of who remembers
    own.lose_power()
    reason = start(own, B).objection(A, start(disk).life)

    # then it is refused
    assert reason is not None
    assert "b-0 has met it with a newer one that began empty" in reason


def test_who_remembers_of_very_long_ago_is_not_contradicted() -> None:
    disk = new_disk()
    first = start(disk).life
    for _ in range(MAX_LIVES):
        memory = start(disk)
    assert memory.own_objection(B, first) is None


def test_a_node_that_is_disowned_is_told_why() -> None:
    told: list[BrokerError] = []
    start(new_disk(), A, told).disowned("b-0 says: the data directory of a-0 is an old copy")
    assert [str(error) for error in told] == ["b-0 says: the data directory of a-0 is an old copy"]


def test_founding_and_the_clusters_shape_survive_a_restart() -> None:
    # given a node of a founded cluster
    disk = new_disk()
    memory = start(disk)
    assert not memory.belongs
    assert memory.topology is None
    topology = TopologyAnswer((Node(A, Zone("a"), "a:1", "a:2"),), (Group(GroupId(0), (A,), A),))
    memory.belong({A: memory.life.incarnation, B: "other"})
    memory.remember(topology)

    # when it restarts after a loss of power
    disk.lose_power()
    memory = start(disk)

    # then it knows
    assert memory.belongs
    assert memory.founder(B) == "other"
    assert memory.founder(NodeId("c-0")) is None
    assert memory.topology == topology


def test_a_node_that_most_of_the_others_do_not_know_any_more_has_left() -> None:
    # given a member of a cluster of four
    memory = start(new_disk())
    names = (A, B, NodeId("c-0"), NodeId("d-0"))
    memory.remember(TopologyAnswer(tuple(Node(name, Zone(name[0]), f"{name}:1", "") for name in names), ()))

    # when one refuses it, and then a second, then it has left
    memory.refused(B, "unknown-node", "who are you")
    assert not memory.left(connected=True)
    memory.refused("c-0", "newer-version", "upgrade first")
    assert not memory.left(connected=True)
    memory.refused("c-0", "unknown-node", "who are you")
    assert memory.left(connected=True)

    # when one of them admits it after all, then it has not, unless there is nobody else
    memory.met(B, Life("b", 1, "p"))
    assert not memory.left(connected=True)
    assert memory.left(connected=False)


def test_a_node_that_the_directory_does_not_name_any_more_has_left() -> None:
    memory = start(new_disk())
    memory.remember(TopologyAnswer((Node(A, Zone("a"), "a:1", ""), Node(B, Zone("b"), "b:1", "")), ()))
    assert not memory.left(connected=True)
    memory.remember(TopologyAnswer((Node(B, Zone("b"), "b:1", ""),), ()))
    assert memory.left(connected=True)


def test_a_node_that_was_never_a_member_cannot_have_left() -> None:
    memory = start(new_disk())
    memory.refused(B, "unknown-node", "who are you")
    assert not memory.left(connected=False)

"""Lives of nodes: what is remembered of them, and who is refused."""

from __future__ import annotations

from itertools import count

from broker.base.errors import BrokerError
from broker.base.ids import GroupId, NodeId, Zone
from broker.domain.directory.commands import Group, Node, TopologyAnswer
from broker.node.memory import Memory
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
    disk, own = new_disk(), new_disk(2)
    memory = start(own, B)
    life = start(disk).life
    assert memory.objection(A, life) is None
    assert memory.objection(A, life) is None

    # when it restarts, and later comes back empty
    restarted, replaced = start(disk).life, start(new_disk(3)).life

    # then it is welcome
    assert memory.objection(A, restarted) is None
    assert memory.objection(A, replaced) is None
    assert memory.incarnation_of(A) == replaced.incarnation


def test_an_old_copy_is_refused_also_after_a_restart_of_who_remembers() -> None:
    # given a peer that has restarted since a copy of its directory was made
    own = new_disk(2)
    memory = start(own, B)
    memory.objection(A, Life("one", 3, "p3"))
    memory.objection(A, Life("one", 4, "p4"))
    own.lose_power()
    memory = start(own, B)

    # then neither the copy as it was, nor its next start is taken for it
    for old in (Life("one", 3, "p3"), Life("one", 4, "q4")):
        reason = memory.objection(A, old)
        assert reason is not None
        assert "the data directory of a-0 is an old copy: b-0 sees start" in reason
    assert memory.objection(A, Life("one", 4, "p4")) is None

    # and after it came back empty, nothing of before is
    assert memory.objection(A, Life("two", 1, "r1")) is None
    reason = memory.objection(A, Life("one", 9, "p9"))
    assert reason is not None
    assert "has met a newer one that began empty" in reason


def test_a_node_that_is_disowned_is_told_why() -> None:
    told: list[BrokerError] = []
    start(new_disk(), A, told).disowned(B, "the data directory of a-0 is an old copy")
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

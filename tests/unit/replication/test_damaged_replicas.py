"""A replica that comes upon damage ends before it says another word; the node and its other replicas go on."""

from __future__ import annotations

import pytest

from broker.base.errors import DataCorrupt, NotLeader
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.raft.messages import HeartbeatReply, VoteRequest
from broker.replication import inputs
from broker.replication.replica import ReplicaSettings
from broker.storage import layout
from tests.unit.replication.single_node import GROUP, ROOM, Node

OTHERS = (NodeId("a"), NodeId("b"), NodeId("c"))
LAGGING = NodeId("c")
OTHER_GROUP = GroupId(2)
BODY = 500_000


def leading_with_old_entries() -> Node:
    """Leads with a follower that has nothing yet; what it needs is only on the disk."""
    node = Node(members=OTHERS, cache_bytes=0)
    node.lead_with_peers()
    for number in range(1, 60):
        node.handle(node.proposal(BODY + number, token=number))
        node.settle_with_peers(LAGGING)
    return node


def damage(node: Node, number: int) -> None:
    path = layout.segment_path(1)
    body = (BODY + number).to_bytes(4, "big")
    node.disk.flip(path, node.disk.content(path).index(body))


def restart(node: Node) -> None:
    node.disk.end_process()
    node.open_store()


def lagging_comes_back(node: Node) -> None:
    """It was away, and needs everything behind the first entry."""
    term = node.core.replicas[GROUP].raft.term
    node.handle(inputs.PeerLost(LAGGING, False))
    node.handle(inputs.FrameArrived(LAGGING, [(GROUP, HeartbeatReply(term, 0))]))


def test_a_leader_that_cannot_read_an_old_entry_ends_and_says_nothing_more() -> None:
    # given a leader with a damaged entry, which a follower needs
    node = leading_with_old_entries()
    damage(node, 5)
    node.handle(node.proposal(1, token=901))
    node.handle(inputs.Query(GROUP, ROOM, None, 902))

    # when it reads it
    lagging_comes_back(node)
    turn = node.turn()

    # then the replica is gone, it is told why, and callers look elsewhere
    ((group, error),) = turn.damage
    assert group == GROUP
    assert "entry" in str(error)
    assert turn.frames == {}
    assert GROUP not in node.core.replicas
    assert list(node.store.damaged) == [GROUP]
    errors = {answer.token: type(answer.error) for answer in turn.answers}
    assert errors == {901: NotLeader, 902: NotLeader}

    # and whoever asks it for a vote gets none
    ask = VoteRequest(Term(99), Index(900), Term(98), False)
    node.handle(inputs.FrameArrived(NodeId("b"), [(GROUP, ask)]))
    assert node.turn().frames == {}


def test_damage_that_somebody_else_comes_upon_ends_the_replica_once() -> None:
    # given a leader
    node = Node()
    node.lead()

    # when a reader finds its data damaged, twice
    for _ in range(2):
        node.core.damage_found(GROUP, DataCorrupt("wal/1 at offset 7"), node.at())

    # then it is told once
    turn = node.turn()
    assert len(turn.damage) == 1
    node.handle(node.proposal(1, token=1))
    (answer,) = node.turn().answers
    assert isinstance(answer.error, NotLeader)


def test_a_damaged_group_is_not_opened_and_cannot_be_by_mistake() -> None:
    # given a damaged entry at the start
    node = leading_with_old_entries()
    damage(node, 5)
    restart(node)

    # then the store does not offer the group, and opening it as it is, is refused
    assert node.store.groups() == []
    with pytest.raises(DataCorrupt, match=r"replica of group 1 on a is damaged: wal/.*entry"):
        node.core.open_group(GROUP, OTHERS, node.at())
    assert node.core.replicas == {}


def test_a_damaged_snapshot_keeps_its_group_closed_and_no_other() -> None:
    # given a group with a snapshot, damaged, and another group
    node = Node(settings=ReplicaSettings(snapshot_after_entries=5))
    node.lead()
    jobs: list[inputs.SnapshotJob | inputs.SendSnapshot] = []
    while not jobs:
        node.handle(node.proposal(1, token=0))
        jobs += node.sync(node.turn().batch).jobs
    (job,) = jobs
    assert isinstance(job, inputs.SnapshotJob)
    writer = node.store.begin_snapshot(job.group, job.mark)
    for piece in job.pieces:
        writer.write(piece)
    name = writer.finish()
    node.handle(inputs.SnapshotWritten(job, name, list(job.live)))
    node.core.open_group(OTHER_GROUP, node.members, node.at())
    node.settle()
    path = layout.snapshot_path(name)
    node.disk.flip(path, len(node.disk.content(path)) // 2)

    # when the node starts again
    restart(node)
    for group in node.store.groups():
        node.core.open_group(group, node.members, node.at())

    # then the other one is open, and this one waits to be given anew
    assert list(node.core.replicas) == [OTHER_GROUP]
    assert list(node.store.damaged) == [GROUP]
    assert [group for group, _ in node.turn().damage] == [GROUP]

    # when it is
    node.store.drop_group(GROUP)
    node.core.open_group(GROUP, node.members, node.at())
    node.lead()

    # then it is whole
    assert not node.store.damaged
    assert node.core.replicas[GROUP].leads

"""A replica that is closed ends all it had promised, and what comes late for it does nothing."""

from __future__ import annotations

import pytest

from broker.base.errors import NotLeader, Unavailable
from broker.base.ids import Index, NodeId, Term
from broker.raft.messages import Append, Heartbeat, VoteRequest
from broker.raft.types import Entry, EntryKind, Membership, Role, SnapshotMark
from broker.replication import inputs
from broker.replication.replica import ReplicaSettings
from tests.unit.replication.single_node import GROUP, ROOM, Node

OTHERS = (NodeId("a"), NodeId("b"), NodeId("c"))
PEER = NodeId("b")


def leading() -> Node:
    node = Node(members=OTHERS)
    node.lead_with_peers()
    return node


def close(node: Node) -> None:
    node.core.close_group(GROUP, node.at())


def reopen(node: Node) -> None:
    node.store.drop_group(GROUP)
    node.core.open_group(GROUP, OTHERS, node.at())


def job_of(node: Node) -> inputs.SnapshotJob:
    """A snapshot that has been begun."""
    while True:
        node.handle(node.proposal(1, token=0))
        turn = node.sync(node.turn().batch)
        for job in turn.jobs:
            assert isinstance(job, inputs.SnapshotJob)
            return job


def written(node: Node, job: inputs.SnapshotJob) -> inputs.SnapshotWritten:
    writer = node.store.begin_snapshot(job.group, job.mark)
    for piece in job.pieces:
        writer.write(piece)
    return inputs.SnapshotWritten(job, writer.finish(), list(job.live))


def test_callers_of_a_closed_replica_are_told_what_is_known() -> None:
    # given a change that is on its way, one not proposed yet, and a read
    node = leading()
    node.handle(node.proposal(1, token=1))
    node.turn()
    node.handle(node.proposal(2, token=2))
    node.handle(inputs.Query(GROUP, ROOM, None, 3))

    # when the replica is closed
    close(node)

    # then the first may have happened, the others have not
    turn = node.turn()
    errors = {answer.token: type(answer.error) for answer in turn.answers}
    assert errors == {1: Unavailable, 2: NotLeader, 3: NotLeader}
    assert [(group, change.role, change.leader) for group, change in turn.role_changes] == [
        (GROUP, Role.FOLLOWER, None)
    ]


def test_a_closed_group_is_refused_and_its_frames_are_ignored() -> None:
    # given a closed replica
    node = leading()
    term = node.core.replicas[GROUP].raft.term
    close(node)
    node.turn()

    # when a peer asks for a vote and callers for their changes
    ask = VoteRequest(Term(term + 1), Index(90), Term(term), False)
    node.handle(inputs.FrameArrived(PEER, [(GROUP, ask), (GROUP, Heartbeat(Term(term + 1), Index(0), 1))]))
    node.handle(node.proposal(1, token=1))
    node.handle(inputs.Query(GROUP, ROOM, None, 2))

    # then nothing is said, and they are refused
    turn = node.turn()
    assert turn.frames == {}
    assert turn.batch is None
    assert {answer.token: type(answer.error) for answer in turn.answers} == {1: NotLeader, 2: NotLeader}
    assert node.core.next_deadline() is None


def test_neither_a_vote_nor_an_acknowledgement_leaves_after_the_replica_was_closed() -> None:
    # given a follower whose acknowledgement waits for the disk, and one more in this turn
    node = Node(members=OTHERS)
    entry = Entry(Index(1), Term(1), EntryKind.NOOP, b"")
    append = Append(Term(1), Index(0), Term(0), Index(0), 1, (entry,))
    node.handle(inputs.FrameArrived(PEER, [(GROUP, append)]))
    batch = node.turn().batch
    node.handle(inputs.FrameArrived(PEER, [(GROUP, Heartbeat(Term(1), Index(0), 2))]))

    # when the replica is closed before the batch is on disk
    close(node)

    # then neither is said
    assert node.turn().frames == {}
    assert node.sync(batch).frames == {}


def test_a_batch_of_the_former_life_says_nothing_to_the_next_one() -> None:
    # given a batch under way when the group is closed, dropped and opened again
    node = leading()
    node.handle(node.proposal(1, token=1))
    batch = node.turn().batch
    close(node)
    reopen(node)

    # when the batch is on disk, and the next one
    node.sync(node.sync(batch).batch)
    node.settle()

    # then the new replica has nothing
    raft = node.core.replicas[GROUP].raft
    assert (raft.last_index, raft.persisted_index, raft.term) == (0, 0, 0)
    node.crash()
    assert node.core.replicas[GROUP].raft.last_index == 0


@pytest.mark.parametrize("opened_again", [False, True])
def test_a_snapshot_of_a_former_life_that_is_written_late_counts_nowhere(opened_again: bool) -> None:
    # given a snapshot under way when its group is closed
    node = Node(settings=ReplicaSettings(snapshot_after_entries=5))
    node.lead()
    job = job_of(node)
    close(node)
    node.store.drop_group(GROUP)
    if opened_again:
        node.core.open_group(GROUP, OTHERS, node.at())

    # when it is written
    node.handle(written(node, job))
    node.settle()

    # then no replica begins with it, and its file goes
    assert node.store.open_snapshot(GROUP) is None
    node.core.open_group(GROUP, node.members, node.at())
    node.lead()
    assert node.disk.names("snapshots") == []

    # and the next one can be begun
    assert job_of(node).mark.index < job.mark.index + 10


def test_a_snapshot_that_was_to_be_begun_in_the_turn_of_the_closing_keeps_no_other_back() -> None:
    # given a snapshot that falls due
    node = Node(settings=ReplicaSettings(snapshot_after_entries=5))
    node.lead()
    job = job_of(node)
    close(node)

    # when its writer gives up
    node.handle(inputs.SnapshotAbandoned(job.group))
    reopen(node)
    node.core.open_group(GROUP, node.members, node.at())
    node.lead()

    # then another is begun when it is due
    assert job_of(node) is not None


@pytest.mark.parametrize("opened_again", [False, True])
def test_a_snapshot_that_arrives_for_a_former_life_is_not_installed(opened_again: bool) -> None:
    # given a snapshot that came in before the group was dropped
    node = Node(members=OTHERS)
    mark = SnapshotMark(Index(20), Term(1), Membership(OTHERS))
    node.handle(inputs.FrameArrived(PEER, [(GROUP, Heartbeat(Term(1), Index(0), 1))]))
    node.settle()
    lives = node.store.lives(GROUP)
    writer = node.store.begin_snapshot(GROUP, mark)
    writer.write(b"state")
    name = writer.finish()
    close(node)
    node.store.drop_group(GROUP)
    if opened_again:
        node.core.open_group(GROUP, OTHERS, node.at())

    # when its arrival is told after
    node.handle(inputs.SnapshotArrived(GROUP, mark, name, lives))
    node.settle()

    # then it is thrown away
    assert node.store.open_snapshot(GROUP) is None
    assert node.disk.names("snapshots") == []


def test_other_late_news_of_a_closed_group_is_ignored() -> None:
    # given a closed replica
    node = leading()
    close(node)
    node.turn()

    # when transfers end and wishes arrive
    for late in (
        inputs.TransferEnded(GROUP, PEER, True),
        inputs.Transfer(GROUP, PEER),
        inputs.Reconfigure(GROUP, Membership(OTHERS)),
        inputs.Stand(GROUP),
        inputs.PeerLost(PEER, True),
    ):
        node.handle(late)

    # then nothing comes of it
    turn = node.turn()
    assert (turn.frames, turn.batch, turn.answers) == ({}, None, [])


def test_closing_what_is_not_open_does_nothing() -> None:
    # given a closed replica
    node = leading()
    close(node)
    node.turn()

    # when it is closed again
    close(node)

    # then nobody hears of it
    assert node.turn().role_changes == []

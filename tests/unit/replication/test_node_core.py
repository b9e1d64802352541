import pytest

from broker.base.errors import NotLeader, Unavailable
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.machine.contract import Wake
from broker.raft.messages import Heartbeat, VoteReply
from broker.replication import inputs
from broker.replication.replica import ReplicaSettings
from tests.unit.replication.single_node import GROUP, ROOM, Node

OTHER_GROUP = GroupId(2)
OTHERS = (NodeId("a"), NodeId("b"), NodeId("c"))


def leading_node(settings: ReplicaSettings | None = None) -> Node:
    node = Node(settings=settings)
    node.lead()
    return node


def query(token: int) -> inputs.Query:
    return inputs.Query(GROUP, ROOM, None, token)


def written(node: Node, job: inputs.SnapshotJob) -> str:
    writer = node.store.begin_snapshot(job.group, job.mark)
    for piece in job.pieces:
        writer.write(piece)
    return writer.finish()


def test_a_proposal_is_answered_after_the_sync_and_not_before():
    node = leading_node()
    node.handle(node.proposal(7, token=5))
    turn = node.turn()
    assert turn.answers == []
    assert turn.batch is not None
    assert node.turn().answers == []
    after = node.sync(turn.batch)
    assert [(answer.token, answer.reply, answer.error) for answer in after.answers] == [(5, 1, None)]


def test_proposals_of_one_turn_share_a_batch():
    node = leading_node()
    for number in range(10):
        node.handle(node.proposal(number, token=number + 1))
    turn = node.turn()
    after = node.sync(turn.batch)
    assert [answer.token for answer in after.answers] == list(range(1, 11))
    assert node.rooms[-1].told == list(range(10))


def test_while_a_batch_is_under_way_the_next_one_gathers():
    node = leading_node()
    node.handle(node.proposal(1, token=1))
    first = node.turn()
    node.handle(node.proposal(2, token=2))
    node.handle(node.proposal(3, token=3))
    assert node.turn().batch is None
    second = node.sync(first.batch)
    assert [answer.token for answer in second.answers] == [1]
    assert [answer.token for answer in node.sync(second.batch).answers] == [2, 3]


def test_a_sync_that_was_not_asked_for_is_a_bug_and_says_so():
    node = leading_node()
    with pytest.raises(RuntimeError, match="99"):
        node.handle(inputs.Synced(99))


def test_what_was_answered_is_there_after_a_power_loss():
    node = leading_node()
    node.handle(node.proposal(7, token=1))
    assert [answer.reply for answer in node.settle()] == [1]
    node.crash()
    node.lead()
    assert node.rooms[-1].told == [7]


def test_what_was_not_synced_is_not_answered_and_may_be_gone():
    node = leading_node()
    node.handle(node.proposal(7, token=1))
    assert node.turn().answers == []
    node.crash()
    node.lead()
    assert node.rooms[-1].told == []


def test_a_read_sees_every_answered_proposal():
    node = leading_node()
    node.handle(node.proposal(7, token=1))
    node.settle()
    node.handle(query(token=2))
    assert [(answer.token, answer.reply) for answer in node.settle()] == [(2, [7])]


def test_a_node_without_the_group_refuses():
    node = leading_node()
    node.handle(inputs.Query(GroupId(9), ROOM, None, 3))
    (answer,) = node.settle()
    assert isinstance(answer.error, NotLeader)


def test_a_follower_refuses_proposals_and_reads():
    node = Node(members=OTHERS)
    node.handle(node.proposal(7, token=1))
    node.handle(query(token=2))
    answers = node.settle()
    assert sorted(answer.token for answer in answers) == [1, 2]
    assert all(isinstance(answer.error, NotLeader) for answer in answers)


def test_a_candidate_asks_for_votes_only_after_its_own_is_on_disk():
    node = Node(members=OTHERS)
    node.settle()
    node.handle(inputs.Stand(GROUP))
    turn = node.turn()
    requests = [message for frame in turn.frames.values() for _, message in frame]
    assert requests
    assert all(message.pre for message in requests)
    node.handle(inputs.FrameArrived(NodeId("b"), [(GROUP, VoteReply(requests[0].term, True, pre=True))]))
    turn = node.turn()
    assert turn.frames == {}
    assert turn.batch is not None
    after = node.sync(turn.batch)
    assert {message.pre for frame in after.frames.values() for _, message in frame} == {False}


def test_time_passes_in_the_machine_by_a_tick_when_its_deadline_comes():
    node = leading_node()
    node.handle(node.proposal(node.wall + 500, token=1))
    node.settle()
    deadline = node.core.next_deadline()
    assert deadline == node.now + 500
    node.pass_time(500)
    node.core.wake(node.at())
    turn = node.sync(node.turn().batch)
    assert turn.effects == [(GROUP, Wake(("alarm", 1)))]
    assert node.rooms[-1].rung == 1


def test_entries_are_applied_in_slices_and_the_deadline_follows_the_last_one():
    node = leading_node(ReplicaSettings(apply_slice=2))
    for number in range(4):
        node.handle(node.proposal(number, token=number + 1))
    node.handle(node.proposal(node.wall + 500, token=5))
    turn = node.sync(node.turn().batch)
    assert [answer.token for answer in turn.answers] == [1, 2]
    assert turn.again
    assert [answer.token for answer in node.turn().answers] == [3, 4]
    assert [answer.token for answer in node.turn().answers] == [5]
    assert node.core.next_deadline() == node.now + 500


def test_a_tick_that_is_refused_is_not_tried_again_at_once():
    """While leadership is handed over proposals are refused; a deadline in the past would make the loop spin."""
    node = Node(members=OTHERS)
    node.lead_with_peers()
    node.handle(node.proposal(node.wall + 500, token=1))
    node.settle_with_peers()
    node.pass_time(500)
    node.handle(inputs.Transfer(GROUP, NodeId("b")))
    node.core.wake(node.at())
    node.turn()
    deadline = node.core.next_deadline()
    assert deadline is not None
    assert deadline > node.now


def test_a_snapshot_shortens_the_log_and_is_what_a_restart_begins_with():
    node = leading_node(ReplicaSettings(snapshot_after_entries=5, keep_behind_snapshot=2))
    jobs = []
    for number in range(6):
        node.handle(node.proposal(number, token=number + 1))
        turn = node.sync(node.turn().batch)
        jobs += turn.jobs
    (job,) = jobs
    node.handle(inputs.SnapshotWritten(job, written(node, job), list(job.live)))
    node.settle()
    replica = node.core.replicas[GROUP]
    assert replica.raft.first_index == job.mark.index - 1
    node.crash()
    assert node.core.replicas[GROUP].applied == job.mark.index
    node.lead()
    assert node.rooms[-1].told == list(range(6))


def test_where_the_disk_is_full_the_log_ends_with_what_is_needed():
    # given a log far too short for a snapshot
    node = leading_node(ReplicaSettings(snapshot_after_entries=1_000, keep_behind_snapshot=500))
    for number in range(6):
        node.handle(node.proposal(number, token=number + 1))
        assert node.sync(node.turn().batch).jobs == []

    # when the disk is full
    node.handle(inputs.MakeRoom())
    (job,) = node.turn().jobs
    node.handle(inputs.SnapshotWritten(job, written(node, job), list(job.live)))
    node.settle()

    # then there is a snapshot, and nothing behind it
    replica = node.core.replicas[GROUP]
    assert job.mark.index == replica.applied
    assert replica.raft.first_index == job.mark.index + 1

    # and the next one is due when it would have been without
    node.handle(node.proposal(6, token=7))
    assert node.sync(node.turn().batch).jobs == []


@pytest.mark.parametrize(("lagging", "kept_for_it", "first"), [(None, 20, 11), ("c", 20, 2), ("c", 7, 6)])
def test_the_log_is_kept_for_a_follower_that_is_there_but_not_without_bound(lagging, kept_for_it, first):
    # given a leader whose other follower has nothing yet
    settings = ReplicaSettings(snapshot_after_entries=12, keep_behind_snapshot=2, keep_for_followers=kept_for_it)
    node = Node(members=OTHERS, settings=settings)
    node.lead_with_peers()
    # when a snapshot is written
    for number in range(11):
        node.handle(node.proposal(number, token=number + 1))
        node.pass_time(100)
        node.core.wake(node.at())
        node.settle_with_peers(lagging)
    (job,) = node.jobs
    assert job.mark.index == 12
    node.handle(inputs.SnapshotWritten(job, written(node, job), list(job.live)))
    node.settle_with_peers(lagging)
    # then the log begins where that follower needs it, or as many entries behind as it may
    assert node.core.replicas[GROUP].raft.first_index == first


def test_snapshots_of_two_groups_that_fall_due_together_are_written_one_after_the_other():
    # given two groups with as many entries each
    node = leading_node(ReplicaSettings(snapshot_after_entries=5))
    node.core.open_group(OTHER_GROUP, node.members, node.at())
    node.handle(inputs.Stand(OTHER_GROUP))
    node.settle()
    # when both have so many that a snapshot is due
    jobs = []
    for number in range(8):
        for group in (GROUP, OTHER_GROUP):
            node.handle(inputs.Proposal(group, node.proposal(number, 0).data, token=2 * number + group))
        jobs += node.sync(node.turn().batch).jobs
    # then one is begun, and the other when that one is done
    assert len(jobs) == 1
    node.handle(inputs.SnapshotWritten(jobs[0], written(node, jobs[0]), list(jobs[0].live)))
    (other,) = node.turn().jobs
    assert {jobs[0].group, other.group} == {GROUP, OTHER_GROUP}


def test_a_snapshot_that_cannot_be_written_does_not_keep_others_from_theirs():
    # given a snapshot that was begun
    node = leading_node(ReplicaSettings(snapshot_after_entries=5))
    jobs = []
    for number in range(6):
        node.handle(node.proposal(number, token=number + 1))
        jobs += node.sync(node.turn().batch).jobs
    assert len(jobs) == 1
    # when it cannot be written, then another one is begun with the next entry
    node.handle(inputs.SnapshotAbandoned(GROUP))
    node.handle(node.proposal(6, token=9))
    assert len(node.sync(node.turn().batch).jobs) == 1


def test_losing_leadership_tells_the_callers_that_the_outcome_is_unknown():
    node = Node(members=OTHERS)
    node.lead_with_peers()
    node.handle(node.proposal(7, token=1))
    node.handle(query(token=2))
    node.settle()
    term = node.core.replicas[GROUP].raft.term
    node.handle(inputs.FrameArrived(NodeId("b"), [(GROUP, Heartbeat(Term(term + 1), Index(0), 1))]))
    answers = {answer.token: answer.error for answer in node.settle()}
    assert isinstance(answers[1], Unavailable)
    assert isinstance(answers[2], NotLeader)
    assert answers[2].leader == "b"

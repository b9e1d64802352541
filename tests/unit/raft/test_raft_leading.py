"""A leader and peers that are slow, silent, far behind, or answer twice."""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import (
    ChangeMembership,
    PeerUnreachable,
    Propose,
    Read,
    Received,
    SnapshotSent,
)
from broker.raft.messages import (
    Append,
    AppendReply,
    HeartbeatReply,
    VoteReply,
)
from broker.raft.ready import SnapshotWanted
from broker.raft.types import Membership, Role
from tests.unit.raft.dialogue import B, C, leader_of, replica_of, say, sent
from tests.unit.raft.replica import Replica, entry

D = NodeId("d")


def test_several_refusals_of_one_loss_are_answered_once() -> None:
    """What was in flight behind a lost append is refused as well; the answers are old by then."""
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
    for payload in (b"x", b"y", b"z"):
        replica.feed(Propose([payload]), Millis(0))
    refusal = AppendReply(Term(1), False, Index(1), 1, Term(1))
    resent = [sent(say(replica, "b", refusal), Append) for _ in range(3)]
    assert [len(messages) for messages in resent] == [1, 0, 0]
    assert len(resent[0]["b"].entries) == 3  # type: ignore[union-attr]


def test_a_shared_append_is_not_used_once_there_is_more() -> None:
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
    replica.feed(Propose([b"x"]), Millis(0))
    replica.feed(PeerUnreachable(B), Millis(0))
    append = sent(replica.feed(Propose([b"y"]), Millis(0)), Append)["b"]
    assert isinstance(append, Append)
    assert [one.data for one in append.entries] == [b"x", b"y"]


def test_a_silent_peer_is_not_offered_a_snapshot_until_it_speaks() -> None:
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
    replica.feed(Propose([b"x", b"y", b"z"]), Millis(0))
    replica.sync(Millis(0))
    say(replica, "c", AppendReply(Term(1), True, Index(4), 1), now=2000)
    replica.compact(4, 5, Millis(2000))
    replica.feed(PeerUnreachable(B), Millis(2000))
    assert replica.feed(Propose([b"u"]), Millis(2000)).snapshots_wanted == []
    assert say(replica, "b", HeartbeatReply(Term(1), 1), now=2001).snapshots_wanted == [SnapshotWanted(B)]


def test_a_failed_snapshot_waits_for_a_sign_of_life() -> None:
    replica = leader_of()
    replica.feed(Propose([b"x", b"y", b"z"]), Millis(0))
    replica.sync(Millis(0))
    say(replica, "c", AppendReply(Term(1), True, Index(4), 1))
    replica.compact(4, 5, Millis(0))
    assert say(replica, "b", AppendReply(Term(1), False, Index(0), 1)).snapshots_wanted == [SnapshotWanted(B)]
    replica.feed(SnapshotSent(B, False), Millis(1))
    assert replica.feed(Propose([b"u"]), Millis(1)).snapshots_wanted == []
    assert say(replica, "b", HeartbeatReply(Term(1), 1), now=2).snapshots_wanted == [SnapshotWanted(B)]


def test_winning_proves_that_the_whole_log_is_durable() -> None:
    """The requests for votes waited for the disk, behind everything that was written before them."""
    replica = replica_of(term=1)
    group = replica.group
    before = Append(Term(1), Index(0), Term(0), Index(0), 1, (entry(1, 1),))
    group.handle(Received(C, before), Millis(0))
    group.wake(Millis(5000))
    group.handle(Received(B, VoteReply(Term(2), True, pre=True)), Millis(5000))
    assert group.persisted_index == 0
    group.handle(Received(B, VoteReply(Term(2), True)), Millis(5000))
    assert (group.role, group.persisted_index, group.last_index) == (Role.LEADER, 1, 2)


def test_an_answer_to_a_round_that_never_was_counts_for_nothing() -> None:
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(1), 0))
    say(replica, "b", HeartbeatReply(Term(1), 10**6))
    replica.feed(Read(7), Millis(0))
    say(replica, "c", HeartbeatReply(Term(1), 1))
    assert replica.grants == {}


def test_an_acknowledgement_of_what_was_never_sent_counts_for_nothing() -> None:
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(99), 1))
    assert replica.group.commit_index == 0
    assert replica.group.progress()[B].matched == 0


def test_one_change_of_membership_at_a_time() -> None:
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
    voters = (NodeId("a"), B, C)
    assert replica.feed(ChangeMembership(Membership(voters, (), (NodeId("d"),))), Millis(0)).first_proposed == 2
    assert replica.feed(ChangeMembership(Membership(voters, (), (NodeId("e"),))), Millis(0)).first_proposed is None
    replica.sync(Millis(0))
    say(replica, "b", AppendReply(Term(1), True, Index(2), 1))
    assert replica.feed(ChangeMembership(Membership(voters, (), (NodeId("e"),))), Millis(0)).first_proposed == 3


def leader_with_learner() -> Replica:
    """``d`` has confirmed three entries."""
    replica = leader_of()
    say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
    replica.feed(ChangeMembership(Membership((NodeId("a"), B, C), (), (D,))), Millis(0))
    replica.feed(Propose([b"x"]), Millis(0))
    replica.sync(Millis(0))
    for peer in "bcd":
        say(replica, peer, AppendReply(Term(1), True, Index(3), 1))
    return replica


def test_a_learner_that_has_lost_what_it_confirmed_begins_anew() -> None:
    replica = leader_with_learner()
    lost = AppendReply(Term(1), False, Index(0), 1)
    say(replica, "d", lost)
    assert replica.group.progress()[D].matched == 3, "an answer from before it confirmed"
    replica.wake(Millis(100))
    append = sent(say(replica, "d", msgspec.structs.replace(lost, round=2), now=101), Append)["d"]
    assert replica.group.progress()[D].matched == 0
    assert isinstance(append, Append)
    assert (append.prev_index, len(append.entries)) == (0, 3)


def test_a_voter_that_has_lost_what_it_confirmed_is_not_helped_to_vote_with_amnesia() -> None:
    replica = leader_with_learner()
    replica.wake(Millis(100))
    refused = say(replica, "b", AppendReply(Term(1), False, Index(0), 2), now=101)
    assert replica.group.progress()[B].matched == 3
    assert sent(refused, Append) == {}

"""The rules of Ongaro's dissertation that the paper leaves out, one by one; each names its section."""

from __future__ import annotations

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import (
    Campaign,
    ChangeMembership,
    Propose,
    Read,
    TransferLeadership,
)
from broker.raft.membership import encode
from broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from broker.raft.ready import Ready
from broker.raft.types import Entry, EntryKind, HardState, Membership, Role
from tests.unit.raft.dialogue import B, C, leader_of, replica_of, say, sent


class TestTransfer:
    """Dissertation 3.10"""

    def test_an_heir_that_is_up_to_date_is_told_at_once(self) -> None:
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        ready = replica.feed(TransferLeadership(B), Millis(0))
        assert sent(ready, TimeoutNow) == {"b": TimeoutNow(Term(1))}
        assert replica.feed(Propose([b"x"]), Millis(0)).first_proposed is None

    def test_the_heir_campaigns_without_asking_first(self) -> None:
        replica = replica_of(term=1)
        say(replica, "b", Heartbeat(Term(1), Index(0), 1))
        ready = say(replica, "b", TimeoutNow(Term(1)))
        assert ready.hard_state == HardState(Term(2), NodeId("a"))
        request = sent(ready, VoteRequest)["c"]
        assert isinstance(request, VoteRequest)
        assert (request.pre, request.transfer) == (False, True)

    def test_only_the_leader_can_ask_for_that(self) -> None:
        replica = replica_of(term=1)
        say(replica, "b", Heartbeat(Term(1), Index(0), 1))
        assert say(replica, "c", TimeoutNow(Term(1))) == Ready()

    def test_loyalty_does_not_stand_in_its_way(self) -> None:
        """Dissertation 4.2.3: everyone else is ignored while the leader lives."""
        replica = replica_of(term=1)
        say(replica, "b", Heartbeat(Term(1), Index(0), 1))
        assert say(replica, "c", VoteRequest(Term(2), Index(0), Term(0)), now=699) == Ready()
        ready = say(replica, "c", VoteRequest(Term(2), Index(0), Term(0), transfer=True), now=699)
        assert sent(ready, VoteReply) == {"c": VoteReply(Term(2), True)}

    def test_loyalty_ends_with_the_shortest_timeout(self) -> None:
        replica = replica_of(term=1)
        say(replica, "b", Heartbeat(Term(1), Index(0), 1))
        ready = say(replica, "c", VoteRequest(Term(2), Index(0), Term(0)), now=700)
        assert sent(ready, VoteReply) == {"c": VoteReply(Term(2), True)}


class TestMembership:
    """Dissertation chapter 4"""

    def test_in_force_when_appended(self) -> None:
        """4.1; the joint phase of 4.3."""
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        ready = replica.feed(ChangeMembership(Membership((NodeId("a"), B, NodeId("d")))), Millis(0))
        joint = Membership((NodeId("a"), B, NodeId("d")), (NodeId("a"), B, C))
        assert ready.membership_change == joint
        assert replica.group.membership == joint
        assert set(replica.group.progress()) == {"b", "c", "d"}

    def test_the_joint_phase_needs_both_majorities(self) -> None:
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        replica.feed(ChangeMembership(Membership((NodeId("d"), NodeId("e"), NodeId("f")))), Millis(0))
        replica.sync(Millis(0))
        say(replica, "b", AppendReply(Term(1), True, Index(2), 1))
        say(replica, "c", AppendReply(Term(1), True, Index(2), 1))
        say(replica, "d", AppendReply(Term(1), True, Index(2), 1))
        assert replica.group.commit_index == 1
        ready = say(replica, "e", AppendReply(Term(1), True, Index(2), 1))
        assert replica.group.commit_index == 2
        assert ready.membership_change == Membership((NodeId("d"), NodeId("e"), NodeId("f")))

    def test_no_change_before_something_of_the_term_is_committed(self) -> None:
        replica = leader_of()
        assert replica.feed(ChangeMembership(Membership((B,))), Millis(0)).first_proposed is None

    def test_who_is_removed_may_campaign_until_that_is_committed(self) -> None:
        """4.2.2: the others may need it in order to finish the change."""
        replica = replica_of()
        removal = Entry(Index(1), Term(1), EntryKind.MEMBERSHIP, encode(Membership((B, C))))
        say(replica, "b", Append(Term(1), Index(0), Term(0), Index(0), 1, (removal,)))
        assert replica.group.next_deadline() is not None
        say(replica, "b", Append(Term(1), Index(1), Term(1), Index(1), 1))
        assert replica.group.next_deadline() is None


class TestReads:
    """Dissertation 6.4"""

    def test_granted_when_a_majority_has_answered_a_later_round(self) -> None:
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        beat = sent(replica.feed(Read(7), Millis(0)), Heartbeat)["b"]
        assert isinstance(beat, Heartbeat)
        assert say(replica, "b", HeartbeatReply(Term(1), beat.round - 1)).reads == []
        grants = say(replica, "c", HeartbeatReply(Term(1), beat.round)).reads
        assert [(grant.token, grant.index) for grant in grants] == [(7, 1)]

    def test_an_answer_from_the_future_counts_for_nothing(self) -> None:
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        say(replica, "b", HeartbeatReply(Term(1), 10**6))
        replica.feed(Read(7), Millis(0))
        assert replica.grants == {}

    def test_refused_when_leadership_is_lost(self) -> None:
        replica = leader_of()
        replica.feed(Read(7), Millis(0))
        ready = say(replica, "b", Heartbeat(Term(5), Index(0), 1))
        assert ready.refused_reads == [7]


class TestPreVote:
    """Dissertation 9.6"""

    def test_asking_changes_nobodys_term(self) -> None:
        replica = replica_of(term=3)
        ready = say(replica, "b", VoteRequest(Term(4), Index(0), Term(0), pre=True))
        assert (replica.group.term, ready.hard_state) == (3, None)
        assert sent(ready, VoteReply) == {"b": VoteReply(Term(4), True, pre=True)}
        ready = replica.feed(Campaign(), Millis(0))
        assert (replica.group.term, ready.hard_state) == (3, None)

    def test_both_may_be_told_yes(self) -> None:
        replica = replica_of()
        for sender in "bc":
            ready = say(replica, sender, VoteRequest(Term(1), Index(0), Term(0), pre=True))
            assert sent(ready, VoteReply)[sender] == VoteReply(Term(1), True, pre=True)

    def test_a_refusal_from_a_higher_term_is_learnt_from(self) -> None:
        replica = replica_of()
        replica.feed(Campaign(), Millis(0))
        say(replica, "b", VoteReply(Term(6), False, pre=True))
        assert (replica.group.role, replica.group.term) == (Role.FOLLOWER, 6)

    def test_a_yes_for_another_campaign_does_not_count(self) -> None:
        replica = replica_of()
        replica.feed(Campaign(), Millis(0))
        say(replica, "b", VoteReply(Term(3), True, pre=True))
        assert replica.group.role is Role.PRE_CANDIDATE


def test_a_single_voter_says_nothing_in_a_term_that_a_crash_could_make_it_repeat() -> None:
    """Elected by nobody else, it has a term nobody but its own disk remembers; learners would hear two histories."""
    learner = Membership((NodeId("a"),), (), (B,))
    replica = replica_of("a")
    replica.wake(Millis(0))
    replica.sync(Millis(0))
    replica.feed(ChangeMembership(learner), Millis(0))
    replica.sync(Millis(0))
    replica.start(Millis(1))
    ready = replica.wake(Millis(1))
    assert replica.group.role is Role.CANDIDATE
    assert ready.messages == []
    assert replica.feed(Propose([b"x"]), Millis(1)).first_proposed is None
    replica.outbox.clear()
    replica.sync(Millis(1))
    assert replica.group.role is Role.LEADER
    assert [addressed.to for addressed in replica.outbox] == ["b"]


class TestLoyalty:
    """4.2.3, which the leader's lease rests on (6.4.1)"""

    def test_it_outlasts_the_term(self) -> None:
        replica = replica_of(term=1)
        say(replica, "b", Heartbeat(Term(1), Index(0), 1))
        say(replica, "c", AppendReply(Term(4), False, Index(0), 0))
        assert replica.group.term == 4
        assert say(replica, "c", VoteRequest(Term(5), Index(0), Term(0)), now=699) == Ready()

    def test_whoever_is_loyal_does_not_campaign_on_request(self) -> None:
        replica = replica_of(term=1)
        say(replica, "b", Heartbeat(Term(1), Index(0), 1))
        assert replica.feed(Campaign(), Millis(699)) == Ready()
        replica.feed(Campaign(), Millis(700))
        assert replica.group.role is Role.PRE_CANDIDATE

"""The rules of the Raft paper (Ongaro and Ousterhout, extended version) and of Ongaro's dissertation, one by one.

Each test names its section. One replica, "a", of three; what the others say is written out.
"""

from __future__ import annotations

import pytest

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import (
    Campaign,
    ChangeMembership,
    Persisted,
    Propose,
    Read,
    Received,
    TransferLeadership,
)
from broker.raft.membership import encode
from broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from broker.raft.ready import Ready
from broker.raft.types import Entry, EntryKind, HardState, Membership, RaftConfig, Role
from tests.unit.raft.replica import Replica, entry, fresh_mark

B, C = NodeId("b"), NodeId("c")
CONFIG = RaftConfig()


def replica_of(voters: str = "abc", *, log: tuple[int, ...] = (), term: int = 0, vote: str | None = None) -> Replica:
    """Restarted with entries of the terms ``log``; its disk syncs when told."""
    replica = Replica("a", fresh_mark(*voters), config=CONFIG)
    replica.syncs_at_once = False
    replica.disk.durable = {index: entry(index, of, b"%d" % index) for index, of in enumerate(log, 1)}
    replica.disk.hard_state = HardState(Term(term), NodeId(vote) if vote else None)
    replica.start(Millis(0))
    return replica


def leader_of(voters: str = "abc", *, log: tuple[int, ...] = (), term: int = 0) -> Replica:
    replica = replica_of(voters, log=log, term=term)
    replica.feed(Campaign(), Millis(0))
    for pre in (True, False):
        for voter in voters[1:]:
            say(replica, voter, VoteReply(Term(term + 1), True, pre))
    replica.sync(Millis(0))
    replica.outbox.clear()
    assert replica.group.role is Role.LEADER
    return replica


def say(replica: Replica, sender: str, message: Message, now: int = 0) -> Ready:
    return replica.feed(Received(NodeId(sender), message), Millis(now))


def sent(ready: Ready, kind: type[Message]) -> dict[str, Message]:
    found = (*ready.messages, *ready.messages_after_sync)
    return {addressed.to: addressed.message for addressed in found if isinstance(addressed.message, kind)}


class TestTerms:
    """5.1"""

    @pytest.mark.parametrize("role", [Role.FOLLOWER, Role.LEADER])
    @pytest.mark.parametrize(
        "message",
        [
            Append(Term(9), Index(0), Term(0), Index(0), 1),
            Heartbeat(Term(9), Index(0), 1),
            AppendReply(Term(9), False, Index(0), 1),
            HeartbeatReply(Term(9), 1),
            VoteReply(Term(9), False),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_a_higher_term_makes_a_follower_of_anyone(self, role: Role, message: Message) -> None:
        replica = leader_of() if role is Role.LEADER else replica_of()
        ready = say(replica, "b", message)
        assert (replica.group.role, replica.group.term) == (Role.FOLLOWER, 9)
        assert ready.hard_state == HardState(Term(9), None)

    def test_a_stale_leader_is_told_the_term(self) -> None:
        replica = replica_of(term=5)
        for message in (Append(Term(3), Index(0), Term(0), Index(0), 1), Heartbeat(Term(3), Index(0), 1)):
            reply = sent(say(replica, "b", message), AppendReply)["b"]
            assert isinstance(reply, AppendReply)
            assert (reply.term, reply.matched) == (5, False)

    def test_other_stale_messages_are_ignored(self) -> None:
        replica = leader_of(term=5)
        for message in (AppendReply(Term(3), True, Index(1), 1), HeartbeatReply(Term(3), 1), VoteReply(Term(3), True)):
            ready = say(replica, "b", message)
            assert ready == Ready()


class TestElection:
    """5.2"""

    def test_a_follower_that_hears_nothing_campaigns_between_the_two_timeouts(self) -> None:
        replica = replica_of()
        due = replica.group.next_deadline()
        assert due is not None
        assert CONFIG.election_timeout_min <= due <= CONFIG.election_timeout_max
        ready = replica.wake(due)
        assert replica.group.role is Role.PRE_CANDIDATE
        assert set(sent(ready, VoteRequest)) == {"b", "c"}

    def test_the_timeouts_differ(self) -> None:
        """Also 9.3: spread prevents split votes."""
        deadlines = {Replica("a", fresh_mark(*"abc"), seed=seed).group.next_deadline() for seed in range(50)}
        assert len(deadlines) > 25

    def test_a_heartbeat_puts_the_election_off(self) -> None:
        replica = replica_of()
        before = replica.group.next_deadline()
        say(replica, "b", Heartbeat(Term(1), Index(0), 1), now=500)
        after = replica.group.next_deadline()
        assert before is not None
        assert after is not None
        assert after >= 500 + CONFIG.election_timeout_min

    @pytest.mark.parametrize(
        ("answers", "role"),
        [
            ({"b": True}, Role.LEADER),
            ({"b": True, "c": False}, Role.LEADER),
            ({"b": False}, Role.CANDIDATE),
            ({"b": False, "c": False}, Role.FOLLOWER),
            ({}, Role.CANDIDATE),
        ],
    )
    def test_a_majority_decides(self, answers: dict[str, bool], role: Role) -> None:
        replica = replica_of()
        replica.feed(Campaign(), Millis(0))
        say(replica, "b", VoteReply(Term(1), True, pre=True))
        for voter, granted in answers.items():
            say(replica, voter, VoteReply(Term(1), granted))
        assert replica.group.role is role

    def test_one_vote_a_term_first_come_first_served(self) -> None:
        replica = replica_of()
        assert sent(say(replica, "b", VoteRequest(Term(1), Index(0), Term(0))), VoteReply)["b"].granted  # type: ignore[union-attr]
        assert not sent(say(replica, "c", VoteRequest(Term(1), Index(0), Term(0))), VoteReply)["c"].granted  # type: ignore[union-attr]
        assert sent(say(replica, "b", VoteRequest(Term(1), Index(0), Term(0))), VoteReply)["b"].granted  # type: ignore[union-attr]

    def test_the_vote_is_remembered_over_a_restart(self) -> None:
        replica = replica_of()
        say(replica, "b", VoteRequest(Term(1), Index(0), Term(0)))
        replica.sync(Millis(0))
        replica.start(Millis(1))
        assert not sent(say(replica, "c", VoteRequest(Term(1), Index(0), Term(0))), VoteReply)["c"].granted  # type: ignore[union-attr]

    def test_a_vote_is_not_told_before_it_is_durable(self) -> None:
        replica = replica_of()
        ready = say(replica, "b", VoteRequest(Term(1), Index(0), Term(0)))
        assert ready.hard_state == HardState(Term(1), B)
        assert ready.messages == []
        assert [addressed.to for addressed in ready.messages_after_sync] == ["b"]

    def test_a_candidate_that_hears_a_leader_of_its_term_follows(self) -> None:
        replica = replica_of()
        replica.feed(Campaign(), Millis(0))
        say(replica, "b", VoteReply(Term(1), True, pre=True))
        assert replica.group.role is Role.CANDIDATE
        say(replica, "c", Heartbeat(Term(1), Index(0), 1))
        assert (replica.group.role, replica.group.leader) == (Role.FOLLOWER, C)

    @pytest.mark.parametrize(
        ("last_term", "last_index", "granted"),
        [(2, 3, True), (2, 4, True), (3, 1, True), (2, 2, False), (1, 9, False)],
    )
    def test_only_for_a_log_at_least_as_up_to_date(self, last_term: int, last_index: int, granted: bool) -> None:
        """5.4.1"""
        for pre in (True, False):
            replica = replica_of(log=(1, 2, 2), term=2)
            ready = say(replica, "b", VoteRequest(Term(4), Index(last_index), Term(last_term), pre))
            reply = sent(ready, VoteReply)["b"]
            assert isinstance(reply, VoteReply)
            assert reply.granted is granted


class TestReplication:
    """5.3"""

    def test_the_leader_sends_in_parallel_with_its_own_sync(self) -> None:
        """Dissertation 10.2.1."""
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        ready = replica.feed(Propose([b"x", b"y"]), Millis(0))
        assert ready.first_proposed == 2
        append = sent(ready, Append)["b"]
        assert isinstance(append, Append)
        assert ready.messages
        assert ready.messages_after_sync == []
        assert (append.prev_index, append.prev_term) == (1, 1)
        assert [one.data for one in append.entries] == [b"x", b"y"]

    def test_peers_in_step_share_one_message(self) -> None:
        replica = leader_of()
        for peer in "bc":
            say(replica, peer, AppendReply(Term(1), True, Index(1), 1))
        appends = sent(replica.feed(Propose([b"x"]), Millis(0)), Append)
        assert appends["b"] is appends["c"]

    def test_committed_when_a_majority_holds_it_durably(self) -> None:
        replica = leader_of()
        say(replica, "b", AppendReply(Term(1), True, Index(1), 1))
        replica.feed(Propose([b"x"]), Millis(0))
        assert replica.group.commit_index == 1
        replica.feed(Persisted(Index(2), Term(1)), Millis(0))
        assert replica.group.commit_index == 1
        ready = say(replica, "c", AppendReply(Term(1), True, Index(2), 1))
        assert replica.group.commit_index == 2
        assert [one.data for one in ready.committed] == [b"x"]
        assert ready.messages == [], "a commit is told with the next message, not by one of its own"

    def test_a_majority_without_the_leaders_own_disk(self) -> None:
        replica = leader_of()
        replica.feed(Propose([b"x"]), Millis(0))
        for peer in "bc":
            say(replica, peer, AppendReply(Term(1), True, Index(2), 1))
        assert replica.group.commit_index == 2

    @pytest.mark.parametrize(
        ("prev", "terms", "log"),
        [
            ((3, 3), (4,), (1, 2, 3, 4)),  # follows on
            ((2, 2), (4,), (1, 2, 4)),  # replaces the last
            ((1, 1), (4, 4), (1, 4, 4)),  # replaces more
            ((0, 0), (1, 2), (1, 2, 3)),  # known already: what follows stays
            ((1, 1), (), (1, 2, 3)),
            ((4, 4), (4,), (1, 2, 3)),  # a gap
            ((3, 2), (4,), (1, 2, 3)),  # another term there
        ],
    )
    def test_a_follower_keeps_what_agrees_and_replaces_what_conflicts(
        self, prev: tuple[int, int], terms: tuple[int, ...], log: tuple[int, ...]
    ) -> None:
        replica = replica_of(log=(1, 2, 3), term=4)
        entries = tuple(entry(index, term) for index, term in enumerate(terms, prev[0] + 1))
        say(replica, "b", Append(Term(4), Index(prev[0]), Term(prev[1]), Index(0), 1, entries))
        assert tuple(replica.terms()) == log

    @pytest.mark.parametrize(
        ("log", "prev", "hint"),
        [
            ((1, 2, 3), (5, 3), (3, 3)),
            ((1, 1, 3, 3), (4, 2), (2, 1)),
            ((1, 1, 1), (3, 4), (3, 1)),
            ((4, 4), (2, 3), (0, 0)),
            ((), (3, 3), (0, 0)),
        ],
    )
    def test_a_refusal_hints_where_the_logs_may_agree(
        self, log: tuple[int, ...], prev: tuple[int, int], hint: tuple[int, int]
    ) -> None:
        replica = replica_of(log=log, term=4)
        ready = say(replica, "b", Append(Term(4), Index(prev[0]), Term(prev[1]), Index(0), 7))
        assert sent(ready, AppendReply)["b"] == AppendReply(Term(4), False, Index(hint[0]), 7, Term(hint[1]))

    def test_an_acknowledgement_waits_for_the_disk_even_if_it_brings_nothing_new(self) -> None:
        replica = replica_of(term=1)
        first = Append(Term(1), Index(0), Term(0), Index(0), 1, (entry(1, 1),))
        for _ in range(2):
            ready = say(replica, "b", first)
            assert ready.messages == []
            assert sent(ready, AppendReply)["b"] == AppendReply(Term(1), True, Index(1), 1)
        assert replica.outbox == []
        replica.sync(Millis(0))
        assert len(replica.outbox) == 2

    def test_a_follower_commits_no_further_than_the_append_reaches(self) -> None:
        """Figure 2, AppendEntries rule 5: what lies behind may conflict with the leader's log."""
        replica = replica_of(log=(1, 1, 1), term=2)
        say(replica, "b", Append(Term(2), Index(1), Term(1), Index(9), 1))
        assert replica.group.commit_index == 1

    def test_a_committed_entry_is_never_replaced(self) -> None:
        replica = replica_of(log=(1, 1), term=1)
        say(replica, "b", Append(Term(1), Index(2), Term(1), Index(2), 1))
        say(replica, "b", Append(Term(1), Index(0), Term(0), Index(2), 1, (entry(1, 1), entry(2, 1, b"other"))))
        assert replica.content == (b"1", b"2")


class TestSafety:
    """5.4.2"""

    def test_an_entry_of_an_earlier_term_is_not_committed_by_counting(self) -> None:
        """Figure 8."""
        replica = leader_of(log=(1, 2), term=2)
        say(replica, "b", AppendReply(Term(3), True, Index(2), 1))
        say(replica, "c", AppendReply(Term(3), True, Index(2), 1))
        assert replica.group.commit_index == 0
        say(replica, "b", AppendReply(Term(3), True, Index(3), 1))
        assert replica.group.commit_index == 3

    def test_a_new_leader_begins_with_an_empty_entry(self) -> None:
        """Section 8."""
        replica = leader_of(log=(1,), term=1)
        assert replica.disk.written[2].kind is EntryKind.NOOP
        assert replica.disk.written[2].term == 2


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
    assert replica.group.role is Role.LEADER
    assert ready.messages == []
    assert replica.feed(Propose([b"x"]), Millis(1)).messages == []
    replica.outbox.clear()
    replica.sync(Millis(1))
    assert [addressed.to for addressed in replica.outbox] == ["b"]

"""The rules of the Raft paper (Ongaro and Ousterhout, extended version), one by one; each names its section."""

from __future__ import annotations

import pytest

from broker.base.ids import Index, Term
from broker.base.instants import Millis
from broker.raft.events import (
    Campaign,
    Persisted,
    Propose,
)
from broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    VoteReply,
    VoteRequest,
)
from broker.raft.ready import Ready
from broker.raft.types import EntryKind, HardState, Role
from tests.unit.raft.dialogue import CONFIG, B, C, leader_of, replica_of, say, sent
from tests.unit.raft.replica import Replica, entry, fresh_mark


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

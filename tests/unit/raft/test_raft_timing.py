"""When a replica acts by itself."""

from __future__ import annotations

import pytest

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import Campaign, PeerClosed, Persisted, Propose, Received
from broker.raft.messages import Heartbeat, VoteReply, VoteRequest
from broker.raft.types import RaftConfig, Role
from tests.unit.raft.replica import Replica, fresh_mark

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def _follower(seed: int = 0, config: RaftConfig | None = None) -> Replica:
    replica = Replica("a", fresh_mark(*"abc"), seed=seed, config=config)
    replica.feed(Received(B, Heartbeat(Term(1), Index(0), 1)), Millis(1000))
    return replica


def _leader(now: int) -> Replica:
    replica = Replica("a", fresh_mark(*"abc"))
    replica.feed(Campaign(), Millis(now))
    for pre in (True, False):
        replica.feed(Received(B, VoteReply(Term(1), True, pre)), Millis(now))
    assert replica.group.role is Role.LEADER
    return replica


@pytest.mark.parametrize(("now", "due"), [(0, 100), (1, 100), (99, 100), (100, 200), (12_345, 12_400)])
def test_heartbeats_fall_on_multiples_of_the_interval(now: int, due: int) -> None:
    replica = _leader(now)
    assert replica.group.next_deadline() == due
    ready = replica.wake(Millis(due + 30))
    assert {type(addressed.message) for addressed in ready.messages} == {Heartbeat}
    assert replica.group.next_deadline() == due + 100


def test_waking_too_early_does_nothing() -> None:
    replica = _leader(5)
    assert replica.wake(Millis(99)).messages == []
    follower = _follower()
    follower.wake(Millis(1699))
    assert follower.group.role is Role.FOLLOWER


@pytest.mark.parametrize("seed", range(20))
def test_a_closed_connection_starts_an_election_within_the_small_delay(seed: int) -> None:
    replica = _follower(seed)
    ready = replica.feed(PeerClosed(B), Millis(1200))
    assert ready.role_change is not None
    assert ready.role_change.leader is None
    due = replica.group.next_deadline()
    assert due is not None
    assert 1200 <= due <= 1230
    # And again soon, should nobody win: the delays double until they are ordinary time-outs.
    delays = []
    for _ in range(8):
        replica.wake(due)
        assert replica.group.role is Role.PRE_CANDIDATE
        previous, due = due, replica.group.next_deadline()
        assert due is not None
        delays.append(due - previous)
    assert delays[0] <= 60
    assert delays[1] <= 120
    assert all(delay <= 1200 for delay in delays)
    assert delays[-1] >= 700


def test_another_peers_closed_connection_changes_nothing() -> None:
    replica = _follower()
    before = replica.group.next_deadline()
    ready = replica.feed(PeerClosed(C), Millis(1200))
    assert ready.role_change is None
    assert replica.group.next_deadline() == before


def test_who_promised_a_vote_leaves_the_other_time_to_ask_for_it() -> None:
    replica = _follower()
    replica.feed(PeerClosed(B), Millis(1200))
    replica.feed(Received(C, VoteRequest(Term(2), Index(0), Term(0), pre=True)), Millis(1229))
    due = replica.group.next_deadline()
    assert due is not None
    assert due >= 1259


def test_a_restart_does_not_break_a_lease_that_was_promised() -> None:
    for lease_reads, answers in ((True, 0), (False, 1)):
        replica = _follower(config=RaftConfig(lease_reads=lease_reads))
        replica.start(Millis(1100))
        ready = replica.feed(Received(C, VoteRequest(Term(2), Index(0), Term(0))), Millis(1700))
        assert len(ready.messages_after_sync) == answers


def test_nor_does_the_restart_of_a_single_voter_whose_leader_is_about_to_leave() -> None:
    """Removed, a leader leads until that is committed; the only voter left must not win before."""
    for lease_reads, due in ((True, 800), (False, 100)):
        replica = Replica("a", fresh_mark("a"), config=RaftConfig(lease_reads=lease_reads))
        replica.wake(Millis(0))
        assert replica.group.role is Role.LEADER
        replica.start(Millis(100))
        assert replica.group.next_deadline() == due


def test_a_replica_with_more_to_hand_out_wants_to_be_woken_at_once() -> None:
    replica = Replica("a", fresh_mark("a"), config=RaftConfig(max_apply_bytes=10))
    replica.wake(Millis(0))
    replica.syncs_at_once = False
    replica.feed(Propose([b"x" * 8] * 3), Millis(5))
    group = replica.group
    handed_out = [len(group.handle(Persisted(Index(4), Term(1)), Millis(7)).committed)]
    while group.next_deadline() is not None:
        assert group.next_deadline() == 7
        handed_out.append(len(group.wake(Millis(7)).committed))
    assert handed_out == [1, 1, 1]

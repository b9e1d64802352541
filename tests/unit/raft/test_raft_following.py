"""A follower and leaders that say what it knows already, or what no leader can mean."""

from __future__ import annotations

from msgspec.structs import replace

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import (
    Persisted,
)
from broker.raft.group import RaftGroup
from broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    SnapshotOffer,
)
from broker.raft.ready import Ready
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from tests.unit.raft.dialogue import CONFIG, B, C, replica_of, say, sent
from tests.unit.raft.replica import entry


def test_entries_out_of_sequence_are_ignored() -> None:
    for entries in (
        (entry(2, 1),),
        (entry(1, 1), entry(3, 1)),
        (entry(1, 3), entry(2, 1)),
        (entry(1, 9),),
        (entry(1, 1), Entry(Index(2), Term(1), EntryKind.MEMBERSHIP, b"damaged")),
    ):
        replica = replica_of(term=3)
        ready = say(replica, "b", Append(Term(3), Index(0), Term(0), Index(2), 1, entries))
        assert (ready.entries, ready.messages_after_sync, replica.group.last_index) == ([], [], 0)


def test_entries_that_a_snapshot_covers_are_passed_over() -> None:
    replica = replica_of(term=1)
    say(replica, "b", Append(Term(1), Index(0), Term(0), Index(3), 1, tuple(entry(index, 1) for index in (1, 2, 3))))
    replica.sync(Millis(0))
    replica.compact(3, 4, Millis(0))
    entries = tuple(entry(index, 1) for index in (2, 3, 4, 5))
    ready = say(replica, "b", Append(Term(1), Index(1), Term(1), Index(3), 1, entries))
    assert [one.index for one in ready.entries] == [4, 5]
    ready = say(replica, "b", Append(Term(1), Index(0), Term(0), Index(3), 1, entries[:0]))
    assert sent(ready, AppendReply)["b"] == AppendReply(Term(1), True, Index(3), 1)


def test_no_leader_makes_it_replace_what_is_committed() -> None:
    replica = replica_of(log=(1, 1), term=1)
    say(replica, "b", Append(Term(1), Index(2), Term(1), Index(2), 1))
    say(replica, "c", Append(Term(2), Index(0), Term(0), Index(2), 1, (entry(1, 2), entry(2, 2))))
    assert replica.terms() == [1, 1]


def test_a_second_leader_of_the_term_is_ignored() -> None:
    replica = replica_of()
    say(replica, "b", Heartbeat(Term(1), Index(0), 1))
    assert say(replica, "c", Append(Term(1), Index(0), Term(0), Index(0), 1, (entry(1, 1),))) == Ready()


def test_a_snapshot_that_the_log_agrees_with_is_not_taken() -> None:
    """Paper figure 13, rule 6: what lies behind it may have been acknowledged, and stays."""
    replica = replica_of(log=(1, 1, 1), term=1)
    mark = SnapshotMark(Index(2), Term(1), Membership((NodeId("a"), B, C)))
    ready = say(replica, "b", SnapshotOffer(Term(1), mark, 4))
    assert ready.snapshot_offered is None
    assert sent(ready, AppendReply)["b"] == AppendReply(Term(1), True, Index(2), 4)
    assert (replica.group.commit_index, replica.group.last_index) == (2, 3)
    assert not replica.group.wants_snapshot(mark)


def test_a_snapshot_replaces_a_log_that_it_contradicts() -> None:
    replica = replica_of(log=(1, 1, 1), term=1)
    mark = SnapshotMark(Index(2), Term(2), Membership((NodeId("a"), B, NodeId("d"))))
    assert say(replica, "b", SnapshotOffer(Term(2), mark, 4)).snapshot_offered == mark
    assert replica.install(mark, (b"p", b"q"), Millis(1))
    group = replica.group
    assert (group.first_index, group.last_index, group.commit_index, group.applied_index) == (3, 2, 2, 2)
    assert group.membership == mark.membership
    assert replica.outbox[-1].message == AppendReply(Term(2), True, Index(2), 0)


def test_an_append_behind_a_snapshot_under_way_is_not_refused_until_patience_ends() -> None:
    replica = replica_of(term=1)
    mark = SnapshotMark(Index(5), Term(1), Membership((NodeId("a"), B, C)))
    say(replica, "b", SnapshotOffer(Term(1), mark, 1))
    too_early = Append(Term(1), Index(5), Term(1), Index(5), 1)
    assert say(replica, "b", too_early, now=100_000).messages == []
    assert say(replica, "b", too_early, now=111_999).messages == []
    assert set(sent(say(replica, "b", too_early, now=112_000), AppendReply)) == {"b"}


def test_what_is_acknowledged_counts_only_if_it_is_still_in_the_log() -> None:
    """A sync that ends after its entries were replaced says nothing about those in their place."""
    replica = replica_of(term=1)
    say(replica, "b", Append(Term(1), Index(0), Term(0), Index(0), 1, (entry(1, 1), entry(2, 1))))
    replica.feed(Persisted(Index(1), Term(1)), Millis(0))
    say(replica, "c", Append(Term(2), Index(0), Term(0), Index(0), 1, (entry(1, 2), entry(2, 2))))
    assert replica.group.persisted_index == 0
    replica.feed(Persisted(Index(2), Term(1)), Millis(0))
    assert replica.group.persisted_index == 0
    replica.feed(Persisted(Index(2), Term(2)), Millis(0))
    assert replica.group.persisted_index == 2


def test_entries_older_than_what_is_committed_before_them_are_ignored() -> None:
    replica = replica_of(log=(1, 2), term=2)
    say(replica, "b", Append(Term(2), Index(2), Term(2), Index(2), 1))
    say(replica, "b", Append(Term(2), Index(0), Term(0), Index(2), 1, tuple(entry(index, 1) for index in (1, 2, 3))))
    assert replica.terms() == [1, 2]


def test_memberships_that_the_log_does_not_hold_are_not_restored() -> None:
    """Left of an older log: in the snapshot already, or lost with the entries that carried them."""
    replica = replica_of(log=(1, 1), term=1)
    found = replica.disk.recover()
    strays = ((Index(0), Membership((C,))), (Index(9), Membership((B,))))
    group = RaftGroup(
        me=replica.name,
        config=CONFIG,
        random=replica.random,
        restored=replace(found, memberships=strays),
        now=Millis(0),
    )
    assert group.membership == found.mark.membership

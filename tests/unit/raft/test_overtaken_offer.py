"""A snapshot was offered, and the log got there by itself: the offer must not silence the follower for ever."""

from random import Random

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import Received
from broker.raft.group import RaftGroup, Restored
from broker.raft.messages import Append, AppendReply, SnapshotOffer
from broker.raft.types import Entry, EntryKind, HardState, Membership, RaftConfig, SnapshotMark

LEADER = NodeId("b")
MEMBERS = Membership((NodeId("a"), LEADER))
NOW = Millis(10)


class NoLog:
    def term_at(self, index: Index) -> Term | None:
        return None

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        return []


def follower() -> RaftGroup:
    restored = Restored(HardState(), SnapshotMark(Index(0), Term(0), MEMBERS), Index(1), Index(0), (), NoLog())
    return RaftGroup(me=NodeId("a"), config=RaftConfig(), random=Random(1), restored=restored, now=Millis(0))


def append(first: int, last: int, commit: int) -> Append:
    entries = tuple(Entry(Index(index), Term(1), EntryKind.NORMAL, b"") for index in range(first, last + 1))
    return Append(Term(1), Index(first - 1), Term(1 if first > 1 else 0), Index(commit), 1, entries)


def test_a_follower_whose_log_overtook_the_offer_says_again_what_it_lacks():
    replica = follower()
    replica.handle(Received(LEADER, SnapshotOffer(Term(1), SnapshotMark(Index(3), Term(1), MEMBERS), 1)), NOW)
    # Appends that were under way when the snapshot was offered arrive after the offer.
    replica.handle(Received(LEADER, append(1, 3, commit=3)), NOW)
    # Entry 4 is lost; entry 5 arrives.
    ready = replica.handle(Received(LEADER, append(5, 5, commit=3)), NOW)
    (reply,) = [addressed.message for addressed in ready.messages]
    assert isinstance(reply, AppendReply)
    assert (reply.matched, reply.index) == (False, 3)


def test_while_the_snapshot_is_needed_an_append_behind_it_is_not_answered():
    replica = follower()
    replica.handle(Received(LEADER, SnapshotOffer(Term(1), SnapshotMark(Index(3), Term(1), MEMBERS), 1)), NOW)
    assert replica.handle(Received(LEADER, append(5, 5, commit=3)), NOW).messages == []

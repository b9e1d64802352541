"""Any message in any state: no exception, no step back, nothing promised before the disk has it.

The messages are arbitrary, possible or not; the shell (disk, snapshots) is honest.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft import events, messages
from broker.raft import membership as memberships
from broker.raft.ready import Ready
from broker.raft.types import Entry, EntryKind, HardState, Membership, RaftConfig, Role, SnapshotMark
from tests.unit.raft.replica import Replica, fresh_mark

_nodes = st.sampled_from([NodeId(name) for name in "abcdz"])
_terms = st.integers(-1, 6).map(Term)
_indices = st.integers(-1, 9).map(Index)
_rounds = st.integers(-1, 5)
_sets = st.lists(_nodes, max_size=3, unique=True).map(lambda nodes: tuple(sorted(nodes)))
_memberships = st.builds(Membership, voters=_sets, outgoing=_sets, learners=_sets, next_learners=_sets)
_marks = st.builds(SnapshotMark, index=_indices, term=_terms, membership=_memberships)
_data = st.one_of(st.sampled_from([b"", b"x" * 30, b"\xc1"]), _memberships.map(memberships.encode))
_entries = st.builds(Entry, index=_indices, term=_terms, kind=st.sampled_from(EntryKind), data=_data)


@st.composite
def _runs(draw: st.DrawFn) -> messages.Append:
    """An append as a leader might send it: entries in sequence."""
    before, term = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    terms = sorted(draw(st.lists(st.integers(term, 4), max_size=4)))
    entries = tuple(
        Entry(Index(index), Term(one), draw(st.sampled_from(EntryKind)), draw(_data))
        for index, one in enumerate(terms, before + 1)
    )
    current = draw(st.integers(max([term, *terms]), 5))
    commit = draw(st.integers(0, 9))
    return messages.Append(Term(current), Index(before), Term(term), Index(commit), draw(_rounds), entries)


class _NearAppend(msgspec.Struct, frozen=True):
    """An append of b, as leader of this term or the next, that begins ``back`` entries before the end of the log."""

    back: int
    later: int
    rises: list[int]
    commit: int

    def event(self, replica: Replica) -> events.Received:
        group = replica.group
        current = Term(group.term + self.later)
        before = Index(max(0, group.last_index - self.back))
        previous = replica.disk.term_at(before) or (current if before else Term(0))
        terms = list(accumulate([previous, *self.rises]))[1:]
        entries = [
            Entry(Index(index), Term(min(term, current)), EntryKind.NORMAL, b"%d" % self.commit)
            for index, term in enumerate(terms, before + 1)
        ]
        commit = Index(group.commit_index + self.commit)
        message = messages.Append(current, before, min(previous, current), commit, 1, tuple(entries))
        return events.Received(NodeId("b"), message)


_messages = st.one_of(
    st.builds(messages.VoteRequest, _terms, _indices, _terms, st.booleans(), st.booleans()),
    st.builds(messages.VoteReply, _terms, st.booleans(), st.booleans()),
    _runs(),
    st.builds(messages.Append, _terms, _indices, _terms, _indices, _rounds, st.lists(_entries, max_size=3).map(tuple)),
    st.builds(messages.AppendReply, _terms, st.booleans(), _indices, _rounds, _terms),
    st.builds(messages.Heartbeat, _terms, _indices, _rounds),
    st.builds(messages.HeartbeatReply, _terms, _rounds),
    st.builds(messages.TimeoutNow, _terms),
    st.builds(messages.SnapshotOffer, _terms, _marks, _rounds),
)
_near_appends = st.builds(
    _NearAppend,
    back=st.integers(-2, 4),
    later=st.integers(0, 1),
    rises=st.lists(st.integers(0, 1), max_size=4),
    commit=st.integers(-1, 2),
)
_deeds = st.one_of(
    st.builds(events.Received, _nodes, _messages),
    st.builds(events.Received, _nodes, _messages),
    st.builds(events.Propose, st.lists(st.sampled_from([b"", b"y" * 25]), max_size=3)),
    st.builds(events.Persisted, _indices, _terms),
    st.builds(events.Read, st.integers(0, 99)),
    st.builds(events.PeerClosed, _nodes),
    st.builds(events.PeerUnreachable, _nodes),
    st.builds(events.SnapshotSent, _nodes, st.booleans()),
    st.builds(events.TransferLeadership, _nodes),
    st.builds(events.ChangeMembership, _memberships),
    st.builds(events.Campaign),
    st.sampled_from(["sync", "sync a little", "compact", "win", "restart", 10, 100, 1200]),
    st.tuples(st.just("install"), _marks),
    st.builds(
        _NearAppend, st.integers(-2, 4), st.integers(0, 1), st.lists(st.integers(0, 1), max_size=4), st.integers(-1, 2)
    ),
    st.builds(
        _NearAppend, st.integers(-2, 4), st.integers(0, 1), st.lists(st.integers(0, 1), max_size=4), st.integers(-1, 2)
    ),
)


class _Watched:
    """A replica whose every Ready is checked against what was known before."""

    def __init__(self, voters: str, *, lease: bool) -> None:
        config = RaftConfig(max_append_bytes=40, max_tail_bytes=50, max_apply_bytes=40, lease_reads=lease)
        self.replica = Replica("a", fresh_mark(*voters), config=config)
        self.replica.syncs_at_once = False
        self.now = Millis(0)
        self.told = HardState()

    def act(self, deed: object) -> None:
        replica, group = self.replica, self.replica.group
        if isinstance(deed, _NearAppend):
            deed = deed.event(replica)
        if isinstance(deed, int):
            self.now = Millis(self.now + deed)
            self._watch(lambda: replica.wake(self.now))
        elif deed == "win":
            self._win()
        elif deed == "restart":
            replica.start(self.now)
            self.told = replica.disk.hard_state
        elif isinstance(deed, str) and deed.startswith("sync"):
            replica.sync(self.now, 1 if deed == "sync a little" else None)
        elif deed == "compact":
            if replica.applied > group.snapshot_index:
                replica.compact(replica.applied, replica.applied, self.now)
        elif isinstance(deed, tuple):
            if deed[1].index >= 0 and deed[1].membership.voters:
                replica.install(deed[1], (), self.now)
        else:
            self._watch(lambda: replica.feed(deed, self.now))  # type: ignore[arg-type]
        self._check_order()

    def _win(self) -> None:
        group = self.replica.group
        self.act(events.Campaign())
        for pre in (True, False):
            for voter in (*group.membership.voters, *group.membership.outgoing):
                term = Term(group.term + pre)
                self.act(events.Received(voter, messages.VoteReply(term, True, pre)))

    def _watch(self, act) -> None:  # type: ignore[no-untyped-def]
        group = self.replica.group
        term, commit, role = group.term, group.commit_index, group.role
        ready: Ready = act()
        assert group.term >= term
        assert group.commit_index >= commit
        assert not ready.entries or ready.entries[0].index > commit, "a committed entry was replaced"
        if group.term != term:
            assert ready.hard_state is not None, "a term was not made durable"
        if ready.hard_state is not None:
            told, self.told = self.told, ready.hard_state
            assert told.term < self.told.term or told.vote in {None, self.told.vote}, "a vote was taken back"
            assert self.told.term == group.term
        if role is Role.LEADER and group.role is Role.LEADER:
            assert not ready.entries or ready.entries[0].index > group.last_index - len(ready.entries)
        for addressed in ready.messages:
            assert addressed.to != "a"
            message = addressed.message
            assert not isinstance(message, messages.AppendReply) or not message.matched
            assert not isinstance(message, messages.VoteReply) or message.pre or not message.granted
            assert not isinstance(message, messages.VoteRequest) or message.pre

    def _check_order(self) -> None:
        group, disk = self.replica.group, self.replica.disk
        assert group.first_index - 1 <= group.snapshot_index <= self.replica.applied <= group.commit_index
        assert group.commit_index <= group.last_index
        assert group.persisted_index <= group.last_index
        assert sorted(disk.written)[-1:] in ([], [group.last_index])
        group.next_deadline()
        group.progress()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    voters=st.sampled_from(["a", "ab", "abc", "abcd", "bcd"]), lease=st.booleans(), deeds=st.lists(_deeds, max_size=40)
)
def test_nothing_makes_a_replica_raise_or_step_back(voters: str, lease: bool, deeds: list[object]) -> None:
    watched = _Watched(voters, lease=lease)
    for deed in deeds:
        watched.act(deed)


@settings(max_examples=150, deadline=None)
@given(
    voters=st.sampled_from(["a", "abc", "abcd"]), deeds=st.lists(_deeds, max_size=25), message=_messages, sender=_nodes
)
def test_nor_does_it_make_a_leader(voters: str, deeds: list[object], message: messages.Message, sender: NodeId) -> None:
    watched = _Watched(voters, lease=False)
    watched.act("win")
    watched.act("sync")
    for deed in deeds:
        watched.act(deed)
    watched.act(events.Received(sender, message))

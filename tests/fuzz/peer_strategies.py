"""What a peer could say, possible or not."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from broker.base.errors import Refusal
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Millis, WallMillis
from broker.machine import envelope
from broker.machine.envelope import Envelope
from broker.raft import membership, messages
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from broker.replication import frames
from broker.replication.frames import Call, CallReply, ClockReport, Talk
from tests.unit.replication.single_node import GROUP, ROOM

LARGEST = 2**63 - 1
numbers = st.one_of(st.integers(-2, 9), st.sampled_from([-(2**63), -1, 2**31, 2**32, 2**53, LARGEST, 2**64 - 1]))
"""Whatever fits into the encoding."""
nodes = st.sampled_from([NodeId(name) for name in ("a", "b", "c", "z", "", "\U0001f980" * 40)])
node_sets = st.lists(nodes, max_size=4, unique=True).map(lambda each: tuple(sorted(each)))
memberships = st.builds(Membership, voters=node_sets, outgoing=node_sets, learners=node_sets, next_learners=node_sets)
marks = st.builds(SnapshotMark, numbers.map(Index), numbers.map(Term), memberships)
ticks = st.integers(0, 2**41).map(lambda at: envelope.encode(Envelope(WallMillis(at), "", None)))
commands = st.integers(0, 9).map(
    lambda number: envelope.encode(Envelope(WallMillis(0), ROOM, None, msgspec.Raw(msgspec.msgpack.encode(number))))
)
entries = st.one_of(
    st.builds(Entry, numbers.map(Index), numbers.map(Term), st.just(EntryKind.NORMAL), ticks | commands),
    st.builds(Entry, numbers.map(Index), numbers.map(Term), st.just(EntryKind.NOOP), st.binary(max_size=5)),
    st.builds(
        Entry,
        numbers.map(Index),
        numbers.map(Term),
        st.just(EntryKind.MEMBERSHIP),
        memberships.map(membership.encode) | st.binary(max_size=5),
    ),
)
"""Their commands are such as the machine knows: what is committed is applied, whatever it is."""
raft_messages = st.one_of(
    st.builds(
        messages.VoteRequest, numbers.map(Term), numbers.map(Index), numbers.map(Term), st.booleans(), st.booleans()
    ),
    st.builds(messages.VoteReply, numbers.map(Term), st.booleans(), st.booleans()),
    st.builds(
        messages.Append,
        numbers.map(Term),
        numbers.map(Index),
        numbers.map(Term),
        numbers.map(Index),
        numbers,
        st.lists(entries, max_size=3).map(tuple),
    ),
    st.builds(messages.AppendReply, numbers.map(Term), st.booleans(), numbers.map(Index), numbers, numbers.map(Term)),
    st.builds(messages.Heartbeat, numbers.map(Term), numbers.map(Index), numbers),
    st.builds(messages.HeartbeatReply, numbers.map(Term), numbers),
    st.builds(messages.TimeoutNow, numbers.map(Term)),
    st.builds(messages.SnapshotOffer, numbers.map(Term), marks, numbers),
)
addressed = st.tuples(st.one_of(st.just(GROUP), numbers.map(GroupId)), raft_messages)
calls = st.builds(
    Call,
    numbers,
    st.sampled_from(["echo", "queues.send", "", "no such method"]),
    st.binary(max_size=40),
    numbers.map(Millis),
)
refusals = st.builds(Refusal, st.sampled_from(["NotLeader", "Overloaded", "no such error"]), st.text(max_size=9))
replies = st.builds(CallReply, numbers, st.binary(max_size=40), st.none() | refusals, st.none() | st.text(max_size=9))
talks = st.builds(Talk, st.lists(calls, max_size=3), st.lists(replies, max_size=3), st.lists(numbers, max_size=3))
clocks = st.none() | st.builds(ClockReport, numbers.map(WallMillis), st.none() | numbers.map(Millis))
peer_frames = st.builds(
    lambda said, talk, clock: b"".join(frames.encode(said, talk, clock)), st.lists(addressed, max_size=4), talks, clocks
)
"""The payload of one frame that a node could have sent, if it were out of its mind."""
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
other_payloads = st.one_of(
    st.binary(max_size=200),
    values.map(msgspec.msgpack.encode),
    st.integers(1, 1_500).map(lambda depth: b"\x91" * depth),
    st.sampled_from(
        [b"\xdd\xff\xff\xff\xff", b"\x94\xdd\x7f\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x95\x90\x90\x90\x90"]
    ),
)
"""The payload of one frame that no node would have sent: a length that is claimed and not there, for one."""

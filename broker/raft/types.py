"""The nouns of consensus: entries, membership, what must be durable. Terms are those of the Raft paper (Ongaro and
Ousterhout 2014) and of Ongaro's dissertation (2014)."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis


class EntryKind(IntEnum):
    NORMAL = 0
    NOOP = 1
    """What a new leader appends so that it may commit entries of earlier terms (paper 5.4.2)."""
    MEMBERSHIP = 2
    """``data`` is an encoded Membership; takes effect when appended, not when committed (dissertation 4.1)."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the replicated log. ``data`` means nothing to this floor unless the kind is MEMBERSHIP."""

    index: Index
    term: Term
    kind: EntryKind
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What a replica must never forget (paper figure 2, "persistent state"): synced before it is told to anyone."""

    term: Term = Term(0)
    vote: NodeId | None = None


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """Who votes. ``outgoing`` is non-empty during joint consensus: then a majority of both sets is needed.

    ``learners`` receive the log and do not vote. ``next_learners`` are voters of the outgoing set that become learners
    when the joint phase ends. Every tuple is sorted, so that equal memberships are equal bytes.
    """

    voters: tuple[NodeId, ...]
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    next_learners: tuple[NodeId, ...] = ()


class SnapshotMark(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot's place in the log: it contains everything up to and including ``index``."""

    index: Index
    term: Term
    membership: Membership


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class RaftConfig(msgspec.Struct, frozen=True):
    """Timing and window of one replica. Times in milliseconds of the monotonic clock."""

    heartbeat_interval: Millis = Millis(100)
    """Heartbeats fall on multiples of it, so that those of all groups of a node coincide and share a frame."""
    election_timeout_min: Millis = Millis(700)
    election_timeout_max: Millis = Millis(1_200)
    """A follower that hears nothing waits a random time between the two. The minimum is also the leader's lease."""
    lost_leader_delay_max: Millis = Millis(30)
    """After the leader's connection was closed by its side, the election starts within this random delay."""
    max_append_bytes: int = 1024 * 1024
    max_inflight_appends: int = 64
    max_inflight_bytes: int = 16 * 1024 * 1024
    max_apply_bytes: int = 4 * 1024 * 1024
    """Committed entries handed out at once; the deadline is immediate while more are due."""
    max_tail_bytes: int = 2 * 1024 * 1024
    """Recent entries that the core keeps at hand, so that the hot path does not read the log back."""
    lease_reads: bool = False
    """Answer reads from the leader's lease instead of asking a quorum. Only sound while clock rates agree and while
    connections close only when processes die; see docs/decisions."""
    transfer_timeout: Millis = Millis(1_000)

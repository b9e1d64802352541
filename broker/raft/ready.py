"""What a replica owes the world after an event. The field comments are the ordering contract."""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.raft.messages import Addressed
from broker.raft.types import Entry, HardState, Membership, Role, SnapshotMark


class ReadGrant(msgspec.Struct, frozen=True):
    """The read with this token may be answered once the machine has applied ``index``."""

    token: int
    index: Index


class RoleChange(msgspec.Struct, frozen=True):
    """This replica's role, term or idea of the leader changed."""

    role: Role
    term: Term
    leader: NodeId | None


class SnapshotWanted(msgspec.Struct, frozen=True):
    """Leader: ``peer`` needs what the log no longer has. Send a snapshot, then report SnapshotSent."""

    peer: NodeId


class Ready(msgspec.Struct, gc=False):
    """Obligations of one event, in the order in which they must be met.

    1. ``messages`` may be sent at once, in order, even before anything below is durable.
    2. ``hard_state`` and ``entries`` are written and synced, hard state first. Entries replace whatever the log held
       from the first one's index on. When durable, tell the replica: Persisted.
    3. ``messages_after_sync`` may be sent only after 2 is durable (votes, the acknowledgement of entries).
    4. ``committed`` are applied in order; they are the next after those handed out before, and each is handed out once.
       A leader may see an entry here before its own disk has it (a quorum of others does): applying is harmless, but
       a restart will find it again only from the others.
    5. ``reads``: answer when the machine has applied the named index. ``refused_reads``: not leader any more.
    """

    messages: list[Addressed] = msgspec.field(default_factory=list)
    hard_state: HardState | None = None
    entries: list[Entry] = msgspec.field(default_factory=list)
    messages_after_sync: list[Addressed] = msgspec.field(default_factory=list)
    committed: list[Entry] = msgspec.field(default_factory=list)
    reads: list[ReadGrant] = msgspec.field(default_factory=list)
    refused_reads: list[int] = msgspec.field(default_factory=list)
    role_change: RoleChange | None = None
    first_proposed: Index | None = None
    """Answer to Propose: index of the first payload. None: refused, this replica does not lead or hands over."""
    snapshot_offered: SnapshotMark | None = None
    """Follower: the leader is sending this snapshot on the bulk connection; wait for it, then SnapshotInstalled."""
    snapshots_wanted: list[SnapshotWanted] = msgspec.field(default_factory=list)
    membership_change: Membership | None = None
    """The membership in force changed (appended, or rolled back with a replaced entry)."""

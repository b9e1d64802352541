"""Everything that can happen to a replica: the inputs of RaftGroup.handle. Time itself is the other input."""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.raft.messages import Message
from broker.raft.types import Membership, SnapshotMark


class Received(msgspec.Struct, frozen=True):
    """A message of this group arrived from ``sender``."""

    sender: NodeId
    message: Message


class Propose(msgspec.Struct, frozen=True):
    """Append these payloads, in order, as NORMAL entries. Leader only; Ready.first_proposed tells the first index."""

    payloads: list[bytes]


class Persisted(msgspec.Struct, frozen=True):
    """The log up to ``index`` (whose entry has ``term``) and the newest hard state handed out are on disk.

    An entry that was replaced in the meantime (other term at that index) is not counted.
    """

    index: Index
    term: Term


class Read(msgspec.Struct, frozen=True):
    """A strong read wants an index. The answer comes as ReadGrant or ReadRefused with the same token."""

    token: int


class PeerClosed(msgspec.Struct, frozen=True):
    """The peer's own side closed its connection: its process is gone (or said goodbye). Not for broken networks."""

    peer: NodeId


class PeerUnreachable(msgspec.Struct, frozen=True):
    """What was in flight to the peer may be lost: probe again before pipelining."""

    peer: NodeId


class SnapshotInstalled(msgspec.Struct, frozen=True):
    """This replica's disk and machine now hold the offered snapshot, durably; the log restarts behind it.

    Ask ``RaftGroup.wants_snapshot`` immediately before replacing anything: a log that got there by itself must stay.
    """

    mark: SnapshotMark


class SnapshotSent(msgspec.Struct, frozen=True):
    """Leader: the transfer to ``peer`` ended. On success the follower's own AppendReply follows."""

    peer: NodeId
    ok: bool


class Compacted(msgspec.Struct, frozen=True):
    """Entries up to ``mark.index`` are covered by a durable snapshot here and may be forgotten as log.

    ``mark`` is what ``RaftGroup.mark_at`` said of the index that the machine had applied.
    """

    mark: SnapshotMark
    keep_from: Index
    """First index that the log can still serve to slow followers (<= mark.index + 1)."""


class TransferLeadership(msgspec.Struct, frozen=True):
    """Leader: hand over to ``to``, a voter. Proposals are refused until it is done or has timed out."""

    to: NodeId


class ChangeMembership(msgspec.Struct, frozen=True):
    """Leader: move to this membership (``outgoing`` empty). One change at a time; joint consensus is entered and left
    by the core itself (dissertation 4.3)."""

    target: Membership


class Campaign(msgspec.Struct, frozen=True):
    """Start an election now (bootstrap: the preferred leader of a new group; tests)."""


class Applied(msgspec.Struct, frozen=True):
    """The machine has applied the log up to ``index``."""

    index: Index


Event = (
    Received
    | Propose
    | Persisted
    | Read
    | PeerClosed
    | PeerUnreachable
    | SnapshotInstalled
    | SnapshotSent
    | Compacted
    | TransferLeadership
    | ChangeMembership
    | Campaign
    | Applied
)

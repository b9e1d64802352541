"""What replicas of one group say to one another. Sender, receiver and group travel outside, in the frame.

Every message carries the sender's term; a higher one makes any receiver a follower (paper 5.1).
"""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.raft.types import Entry, SnapshotMark


class _Message(msgspec.Struct, frozen=True, array_like=True):
    term: Term


class VoteRequest(_Message, frozen=True, tag=1):
    """Paper 5.2, 5.4.1. With ``pre`` it asks "would you?" and changes no one's term (dissertation 9.6)."""

    last_index: Index
    last_term: Term
    pre: bool = False
    transfer: bool = False
    """The leader asked for this election (dissertation 3.10): the receiver ignores the leader's lease."""


class VoteReply(_Message, frozen=True, tag=2):
    granted: bool
    pre: bool = False


class Append(_Message, frozen=True, tag=3):
    """Paper 5.3. ``round`` numbers the leader's rounds of contact; the reply returns it (ReadIndex, lease)."""

    prev_index: Index
    prev_term: Term
    commit: Index
    round: int
    entries: tuple[Entry, ...] = ()


class AppendReply(_Message, frozen=True, tag=4):
    """``matched``: the follower holds, durably, the leader's log up to ``index``. Otherwise ``index`` and ``hint_term``
    are the conflict hint: the last index that may agree, and the term found there (paper 5.3, end)."""

    matched: bool
    index: Index
    round: int
    hint_term: Term = Term(0)


class Heartbeat(_Message, frozen=True, tag=5):
    """``commit`` never exceeds what the receiver is known to hold."""

    commit: Index
    round: int


class HeartbeatReply(_Message, frozen=True, tag=6):
    round: int


class TimeoutNow(_Message, frozen=True, tag=7):
    """Leadership is handed to the receiver: campaign at once (dissertation 3.10)."""


class SnapshotOffer(_Message, frozen=True, tag=8):
    """A snapshot comes over the bulk connection. The follower answers AppendReply once it is installed and durable."""

    mark: SnapshotMark
    round: int


Message = VoteRequest | VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | TimeoutNow | SnapshotOffer


class Addressed(msgspec.Struct, frozen=True, array_like=True):
    """An outgoing message with its receiver."""

    to: NodeId
    message: Message

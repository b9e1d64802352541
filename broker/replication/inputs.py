"""What can happen to a node's replicas, and what a turn owes the world. Plain data; the meaning is in node_core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from broker.base.errors import BrokerError, DataCorrupt
from broker.base.ids import GroupId, Index, NodeId
from broker.machine.contract import Effect
from broker.raft.messages import Message
from broker.raft.ready import RoleChange
from broker.raft.types import Membership, SnapshotMark
from broker.storage.store import Batch

# --- inputs


class FrameArrived(msgspec.Struct, gc=False):
    peer: NodeId
    messages: list[tuple[GroupId, Message]]


class Proposal(msgspec.Struct, gc=False):
    """``data`` is an encoded envelope. The Answer carries ``token``."""

    group: GroupId
    data: bytes
    token: int


class Query(msgspec.Struct, gc=False):
    """A linearizable read of one room."""

    group: GroupId
    room: str
    question: Any
    token: int


class PeerLost(msgspec.Struct, frozen=True):
    """``closed``: the other side's process ended its connection; otherwise the network did."""

    peer: NodeId
    closed: bool


class Synced(msgspec.Struct, frozen=True):
    """The batch with this number is on disk, and with it all before."""

    number: int


class SnapshotWritten(msgspec.Struct, frozen=True):
    """A snapshot job is done: its file is durable under ``name``; ``live`` is the job's, read to its end."""

    job: SnapshotJob
    name: str
    live: list[tuple[Index, Index]]


class SnapshotAbandoned(msgspec.Struct, frozen=True):
    group: GroupId


class SnapshotArrived(msgspec.Struct, frozen=True):
    """A leader's snapshot is complete here: file durable under ``name``, its live entries staged as carried.

    ``lives``: of the group in the store (see there) while they came.
    """

    group: GroupId
    mark: SnapshotMark
    name: str
    lives: int


class TransferEnded(msgspec.Struct, frozen=True):
    """Sending a snapshot of ``group`` to ``peer`` ended."""

    group: GroupId
    peer: NodeId
    ok: bool


class Transfer(msgspec.Struct, frozen=True):
    """Hand leadership of ``group`` to ``to``."""

    group: GroupId
    to: NodeId


class Reconfigure(msgspec.Struct, frozen=True):
    group: GroupId
    target: Membership


class Stand(msgspec.Struct, frozen=True):
    """Campaign for ``group`` now: the preferred leader of a new cluster need not wait for a time-out."""

    group: GroupId


class MakeRoom(msgspec.Struct, frozen=True):
    """The disk is full: what the logs keep beyond what is needed goes, as soon as a snapshot can tell."""


Input = (
    FrameArrived
    | Proposal
    | Query
    | PeerLost
    | Synced
    | SnapshotWritten
    | SnapshotAbandoned
    | SnapshotArrived
    | TransferEnded
    | Transfer
    | Reconfigure
    | Stand
    | MakeRoom
)

# --- outputs


class Answer(msgspec.Struct, gc=False):
    """To a Proposal or Query: the machine's reply, or the error to raise."""

    token: int
    reply: Any = None
    error: BrokerError | None = None


class SnapshotJob(msgspec.Struct, frozen=True):
    """Write ``pieces`` to a snapshot file, off the loop; then SnapshotWritten (or SnapshotAbandoned)."""

    group: GroupId
    mark: SnapshotMark
    pieces: Iterator[bytes]
    live: Iterator[tuple[Index, Index]]


class SendSnapshot(msgspec.Struct, frozen=True):
    """Stream machine state and live entries to ``peer`` on the bulk connection; then TransferEnded."""

    group: GroupId
    peer: NodeId
    mark: SnapshotMark
    pieces: Iterator[bytes]
    live: Iterator[tuple[Index, Index]]


class Turn(msgspec.Struct):
    """Everything owed after the inputs of one turn, in the order in which it must be done.

    ``frames`` go out first, before ``batch`` is written: followers sync while this node does. At most one batch is
    under way at a time; while it is, further writes gather for the next one. ``again``: more work waits, take another
    turn soon. ``damage``: replicas that ended because what the disk has of them is damaged.
    """

    frames: dict[NodeId, list[tuple[GroupId, Message]]]
    batch: Batch | None
    answers: list[Answer]
    effects: list[tuple[GroupId, Effect]]
    role_changes: list[tuple[GroupId, RoleChange]]
    jobs: list[SnapshotJob | SendSnapshot]
    again: bool
    damage: list[tuple[GroupId, DataCorrupt]] = []

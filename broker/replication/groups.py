"""What services see of replication: propose, query, wait, and call another node. Nothing of logs, votes or disks.

Every method that takes a group works where this node leads it; elsewhere it raises NotLeader with the best known
leader, and the caller forwards the whole use case there with ``call``. One hop, never a chain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

import msgspec

from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Clock, Millis
from broker.machine.envelope import RequestId
from broker.replication.captures import CapturedPart

CallHandler = Callable[[bytes], Awaitable[bytes]]


class ReplicaStatus(msgspec.Struct, frozen=True, array_like=True):
    """``matched``: highest log index known to be durable there."""

    node: NodeId
    matched: Index
    connected: bool


class GroupStatus(msgspec.Struct, frozen=True, array_like=True):
    """One replica's view of its group. ``replicas`` is filled by the leader only."""

    group: GroupId
    role: str
    leader: NodeId | None
    term: Term
    commit: Index
    applied: Index
    last: Index
    snapshot: Index
    voters: tuple[NodeId, ...]
    replicas: tuple[ReplicaStatus, ...]
    learners: tuple[NodeId, ...] = ()
    joint: bool = False
    """The voters are changing: majorities of those before and of ``voters`` are needed."""


class Groups(Protocol):
    """The replicas of this node."""

    @property
    def me(self) -> NodeId: ...

    @property
    def clock(self) -> Clock: ...

    async def propose(
        self, group: GroupId, room: str, command: msgspec.Struct, timeout: Millis, request: RequestId | None = None
    ) -> Any:
        """Replicate, sync on a quorum, apply; the machine's reply (which may be a refusal, as data).

        Raises NotLeader: nothing happened. Unavailable, DeadlineExceeded: the outcome is unknown; a retry under the
        same ``request`` finds out. Overloaded, DiskFull: nothing happened.
        """

    async def query(self, group: GroupId, room: str, question: Any, timeout: Millis) -> Any:
        """A linearizable read: confirmed with a quorum after the call began.

        Raises NotLeader, Unavailable, DeadlineExceeded.
        """

    def peek(self, group: GroupId, room: str, question: Any) -> Any:
        """What this leader has applied, without asking anyone: may miss the newest changes after a partition.

        Raises NotLeader.
        """

    def replay(self, group: GroupId, session: bytes, after: int) -> list[tuple[int, Any]]:
        """Remembered replies of a session with a number above ``after``, ascending. Raises NotLeader."""

    def read_entry(self, group: GroupId, index: Index) -> bytes | None:
        """Data of an applied entry, or None when it was dropped because nothing refers to it any more.

        Raises NotLeader when this node has no replica of the group (any more): what was damaged has just ended.
        """

    def expect_room(self, group: GroupId) -> None:
        """For more messages, on this disk and those of the others. Raises DiskFull: nothing may be sent."""

    @property
    def fit_to_lead(self) -> bool:
        """Whether this node's disk is fast enough, and has room, to lead where another could."""

    async def woken(self, group: GroupId, key: tuple[str, int], timeout: Millis) -> bool:
        """Wait until the machine of a group led here emits Wake(key). First come, first woken, one per free message.

        False when the time is up. Raises NotLeader when leadership ends meanwhile. Costs no log entry.
        """

    def holds(self, group: GroupId) -> bool:
        """Whether this node has a replica of the group."""

    def leads(self, group: GroupId) -> bool:
        """Whether this node leads the group and has applied everything committed before its term."""

    async def led(self, group: GroupId) -> None:
        """Wait until this node leads the group, for as long as that takes. Costs nothing meanwhile."""

    def leader_of(self, group: GroupId) -> NodeId | None:
        """The node believed to lead; None while unknown or when this node has no replica of the group."""

    async def leader_known(self, group: GroupId, timeout: Millis) -> NodeId | None:
        """Wait until a leader of the group is known here; None when the time is up."""

    async def transfer(self, group: GroupId, to: NodeId, timeout: Millis) -> bool:
        """Hand leadership to a caught-up voter; whether it moved in time. Raises NotLeader."""

    async def open(self, group: GroupId, voters: tuple[NodeId, ...]) -> None:
        """Start a replica of a group that this node does not hold, empty, which follows ``voters``, or founds the group
        with them. What was left here of a damaged one is forgotten. Durable when it returns. Held already: nothing."""

    async def drop(self, group: GroupId) -> None:
        """End this node's replica, and forget it, durably. None here: nothing."""

    def reconfigure(self, group: GroupId, voters: tuple[NodeId, ...], learners: tuple[NodeId, ...]) -> None:
        """Begin to change who belongs to a group led here; ``status`` shows whether and how far. Raises NotLeader."""

    async def read_captured(self, group: GroupId, backup: bytes, part: int) -> CapturedPart:
        """What the replica of this node, leader or not, has captured for a backup; at a rate that others can bear.

        Raises BackupExpired when it has nothing, or that part not any more; DataCorrupt.
        """

    def keep_captured(self, backup: bytes, groups: Collection[GroupId]) -> None:
        """What the replicas of this node have captured for a backup is still needed of ``groups``, and of no others."""

    def status(self) -> list[GroupStatus]:
        """All replicas of this node."""

    def connected(self) -> frozenset[NodeId]:
        """Peers with a live connection."""

    def heard(self) -> frozenset[NodeId]:
        """Those of them that said something lately. Of one that was cut off this ends before its connection does."""

    def serve(self, method: str, handler: CallHandler) -> None:
        """Answer calls of other nodes. A BrokerError raised by the handler reaches the caller as the same class."""

    async def call(self, node: NodeId, method: str, payload: bytes, timeout: Millis) -> bytes:
        """Run ``method`` on another node. Raises what its handler raised; Unavailable when the node is not connected or
        the connection ends first; DeadlineExceeded."""

"""Where the replicas of a node put what they owe during one turn. What must wait for the disk waits at its gate."""

from __future__ import annotations

from typing import Any

from broker.base.errors import BrokerError, DataCorrupt
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.machine.contract import Effect
from broker.raft.messages import Addressed, Message
from broker.raft.ready import RoleChange
from broker.raft.types import SnapshotMark
from broker.replication.inputs import Answer, SendSnapshot, SnapshotJob


class Gate:
    """What may happen only when everything staged so far is durable."""

    __slots__ = ("installs", "messages", "persisted")

    def __init__(self) -> None:
        self.messages: list[tuple[GroupId, Addressed]] = []
        self.persisted: dict[GroupId, tuple[Index, Term]] = {}
        self.installs: list[tuple[GroupId, SnapshotMark]] = []

    def forget(self, group: GroupId) -> None:
        """What the group waits for here does not happen."""
        self.messages = [each for each in self.messages if each[0] != group]
        self.persisted.pop(group, None)
        self.installs = [each for each in self.installs if each[0] != group]

    def __bool__(self) -> bool:
        return bool(self.messages or self.persisted or self.installs)


class Outbox:
    def __init__(self) -> None:
        self.frames: dict[NodeId, list[tuple[GroupId, Message]]] = {}
        self.gate = Gate()
        self.answers: list[Answer] = []
        self.effects: list[tuple[GroupId, Effect]] = []
        self.role_changes: list[tuple[GroupId, RoleChange]] = []
        self.jobs: list[SnapshotJob | SendSnapshot] = []
        self.snapshots_due: list[GroupId] = []
        self.damage: list[tuple[GroupId, DataCorrupt]] = []
        self.dirty: set[GroupId] = set()
        """Groups with something to propose or apply before the turn ends."""

    def send(self, group: GroupId, messages: list[Addressed]) -> None:
        for addressed in messages:
            frame = self.frames.get(addressed.to)
            if frame is None:
                frame = self.frames[addressed.to] = []
            frame.append((group, addressed.message))

    def send_after_sync(self, group: GroupId, messages: list[Addressed]) -> None:
        self.gate.messages.extend((group, addressed) for addressed in messages)

    def persisted_after_sync(self, group: GroupId, index: Index, term: Term) -> None:
        """The latest word counts: a shorter log that replaced a longer one must not be reported as the longer.

        ``term`` is that of the entry as staged: what replaces it before the sync ends is not durable by that sync.
        """
        self.gate.persisted[group] = (index, term)

    def install_after_sync(self, group: GroupId, mark: SnapshotMark) -> None:
        self.gate.installs.append((group, mark))

    def answer(self, token: int, reply: Any) -> None:
        if token:
            self.answers.append(Answer(token, reply))

    def fail(self, token: int, error: BrokerError) -> None:
        if token:
            self.answers.append(Answer(token, None, error))

    def forget(self, group: GroupId) -> None:
        """Nothing of the group is said, carried out or begun any more; its callers' answers stay."""
        self.gate.forget(group)
        for peer, messages in list(self.frames.items()):
            left = [each for each in messages if each[0] != group]
            if left:
                self.frames[peer] = left
            else:
                del self.frames[peer]
        self.effects = [each for each in self.effects if each[0] != group]
        self.jobs = [job for job in self.jobs if job.group != group]
        self.snapshots_due = [each for each in self.snapshots_due if each != group]
        self.dirty.discard(group)

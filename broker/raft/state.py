"""All that one replica is: its durable promises, its role, its log and members, and the Ready being filled.

The other modules of this room are its verbs. State itself decides nothing; it only keeps its parts consistent.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.log import RaftLog
from broker.raft.membership import MembershipHistory, is_voter, members
from broker.raft.messages import Addressed, Append, Message
from broker.raft.progress import Progress
from broker.raft.ready import Ready
from broker.raft.restored import Restored
from broker.raft.types import HardState, Membership, RaftConfig, Role, SnapshotMark


class Chance(Protocol):
    """Where randomness comes from: a random.Random, seeded by whoever wants to see the same run again."""

    def randint(self, a: int, b: int, /) -> int:
        """A random integer from ``a`` to ``b``, both included."""


class ReadRound:
    """Reads that wait until a quorum has confirmed this leader in ``round`` or later."""

    __slots__ = ("index", "round", "tokens")

    def __init__(self, number: int, index: Index, tokens: list[int]) -> None:
        self.round = number
        self.index = index
        self.tokens = tokens


class State:
    """One replica. Every verb reads ``now`` and writes what is owed to ``out``."""

    def __init__(self, *, me: NodeId, config: RaftConfig, random: Chance, restored: Restored, now: Millis) -> None:
        self.me = me
        self.config = config
        self.chance = random
        self.now = now
        self.out = Ready()

        self.term: Term = restored.hard_state.term
        self.vote: NodeId | None = restored.hard_state.vote
        self.hard_state_changed = False
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self.role_changed = False
        self.log = RaftLog(restored, config.max_tail_bytes)
        self.applied: Index = restored.mark.index

        mark = restored.mark
        later = tuple(step for step in restored.memberships if mark.index < step[0] <= self.log.last_index)
        self.memberships = MembershipHistory(mark.index, mark.membership, later)
        self.membership: Membership
        self.members: set[NodeId]
        self.is_voter: bool
        self.is_alone: bool
        """This replica is a quorum by itself."""
        self._adopt(self.memberships.current)

        # Followers and candidates
        self.election_due: Millis = now
        self.election_timeout: Millis = config.election_timeout_max
        self.loyal_until: Millis = now
        """Before it, requests for votes are ignored: a leader was heard (dissertation 4.2.3)."""
        self.haste = 0
        """Elections tried since the leader's connection closed; 0: no hurry."""
        self.votes: dict[NodeId, bool] = {}
        self.offered: SnapshotMark | None = None
        """The snapshot that this term's leader is sending."""
        self.offer_expires: Millis | None = None
        """When a snapshot that the leader believes sent, and that was not installed, is believed lost."""

        # Leaders
        self.progress: dict[NodeId, Progress] = {}
        """Every member's, this leader's own included while it is one."""
        self.heartbeat_due: Millis | None = None
        self.round = 0
        self.round_starts: deque[tuple[int, Millis]] = deque()
        self.mute = False
        """Elected by no one else, and its vote not yet durable: a crash could let another be elected in this term, so
        nothing may be said or promised in it."""
        self.shared_append: Append | None = None
        """The newest append, to be sent to the next peer too if that needs the same."""
        self.waiting_reads: list[int] = []
        self.read_round: ReadRound | None = None
        self.transferring_to: NodeId | None = None
        self.transfer_due: Millis | None = None
        self.lease_broken = False
        """An election that ignores the lease was asked for in this term."""

    def send(self, to: NodeId, message: Message) -> None:
        self.out.messages.append(Addressed(to, message))

    def send_after_sync(self, to: NodeId, message: Message) -> None:
        self.out.messages_after_sync.append(Addressed(to, message))

    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote)

    def membership_moved(self) -> None:
        """The history of memberships changed: put the newest in force."""
        if self.memberships.current == self.membership:
            return
        self._adopt(self.memberships.current)
        self.out.membership_change = self.membership
        if self.role is Role.LEADER:
            self.track_members()

    @property
    def may_campaign(self) -> bool:
        """Voters do; so do those whose removal is not known to be committed."""
        return self.is_voter or self.memberships.may_vote(self.me, self.log.commit)

    @property
    def has_peers(self) -> bool:
        """Whether there is anyone to speak to."""
        return bool(self.members - {self.me})

    def track_members(self) -> None:
        """Leader: follow every member's progress and no one else's."""
        known = self.progress
        self.progress = {
            node: known.get(node) or Progress(Index(self.log.last_index + 1), self.now) for node in sorted(self.members)
        }

    def _adopt(self, membership: Membership) -> None:
        self.membership = membership
        self.members = members(membership)
        self.is_voter = is_voter(membership, self.me)
        self.is_alone = membership.voters == (self.me,) and membership.outgoing in {(), (self.me,)}

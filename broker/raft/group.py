"""The door to one replica of a Raft group: an event and the time go in, a Ready with everything owed comes out.

No I/O, no clock, no chance of its own. Whoever holds a RaftGroup meets the obligations of each Ready in the order that
Ready documents, and calls ``wake`` when ``next_deadline`` has come. Nothing here raises for what a peer sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft import (
    appending,
    catching_up,
    election,
    handing_over,
    leading,
    proposing,
    reading,
    reconfiguring,
    timing,
)
from broker.raft.events import (
    Applied,
    Campaign,
    ChangeMembership,
    Compacted,
    Event,
    PeerClosed,
    PeerUnreachable,
    Persisted,
    Propose,
    Read,
    Received,
    SnapshotInstalled,
    SnapshotSent,
    TransferLeadership,
)
from broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from broker.raft.progress import PeerView
from broker.raft.ready import Ready, RoleChange
from broker.raft.restored import LogReader, Restored
from broker.raft.roles import enter_term
from broker.raft.state import Chance, State
from broker.raft.types import Membership, RaftConfig, Role, SnapshotMark

__all__ = ["Chance", "LogReader", "RaftGroup", "Restored"]


class RaftGroup:
    """One replica. Not thread-safe; ``now`` never goes back."""

    __slots__ = ("_state",)

    def __init__(self, *, me: NodeId, config: RaftConfig, random: Chance, restored: Restored, now: Millis) -> None:
        state = State(me=me, config=config, random=random, restored=restored, now=now)
        timing.arm_election(state)
        if state.is_alone:
            state.election_due = now
        if config.lease_reads and (state.term or not state.is_alone):
            # What was promised to a leader before the restart is forgotten, its lease may not have run out.
            state.loyal_until = Millis(now + config.election_timeout_min)
            state.election_due = max(state.election_due, state.loyal_until)
        self._state = state

    def handle(self, event: Event, now: Millis) -> Ready:
        """Take one event. The Ready belongs to the caller."""
        state = self._state
        state.now = now
        state.out = Ready()
        _EVENTS[type(event)](state, event)
        return self._finish()

    def wake(self, now: Millis) -> Ready:
        """Do what is due by ``now``; harmless when nothing is."""
        state = self._state
        state.now = now
        state.out = Ready()
        if state.role is Role.LEADER:
            leading.wake(state)
        elif state.election_due <= now:
            election.campaign(state)
        return self._finish()

    def next_deadline(self) -> Millis | None:
        """When to call ``wake``; possibly at once. None: only an event can change anything."""
        return timing.next_deadline(self._state)

    def _finish(self) -> Ready:
        state = self._state
        out = state.out
        log = state.log
        if log.handed_out < log.commit:
            out.committed = log.hand_out(state.config.max_apply_bytes)
        if state.hard_state_changed:
            state.hard_state_changed = False
            out.hard_state = state.hard_state()
        if state.role_changed:
            state.role_changed = False
            out.role_change = RoleChange(self.role, state.term, self.leader)
        return out

    @property
    def role(self) -> Role:
        """Whoever won by its own vote alone is a candidate until its disk has that vote."""
        state = self._state
        return Role.CANDIDATE if state.mute else state.role

    @property
    def term(self) -> Term:
        return self._state.term

    @property
    def leader(self) -> NodeId | None:
        """Who leads the current term, as far as this replica knows."""
        state = self._state
        return None if state.mute else state.leader

    @property
    def commit_index(self) -> Index:
        return self._state.log.commit

    @property
    def first_index(self) -> Index:
        """The first entry that the log still holds."""
        return self._state.log.first_index

    @property
    def last_index(self) -> Index:
        return self._state.log.last_index

    @property
    def persisted_index(self) -> Index:
        """How far this replica's own disk is known to have the log."""
        return self._state.log.persisted

    @property
    def applied_index(self) -> Index:
        """As reported by Applied."""
        return self._state.applied

    @property
    def snapshot_index(self) -> Index:
        """Everything up to it is covered by this replica's newest snapshot."""
        return self._state.log.mark.index

    @property
    def membership(self) -> Membership:
        """In force: the newest in the log, committed or not."""
        return self._state.membership

    @property
    def transferring_to(self) -> NodeId | None:
        return self._state.transferring_to

    def progress(self) -> dict[NodeId, PeerView]:
        """The leader's picture of its peers; empty elsewhere."""
        state = self._state
        active_for = state.config.election_timeout_max
        return {peer: known.view(state.now, active_for) for peer, known in state.progress.items() if peer != state.me}

    def mark_at(self, index: Index) -> SnapshotMark | None:
        """The mark of a snapshot taken when the machine has applied ``index``: between the last mark and the commit
        index. None for any other."""
        log = self._state.log
        term = log.term_at(index)
        if not log.mark.index <= index <= log.handed_out or term is None:
            return None
        return SnapshotMark(index, term, self._state.memberships.at(index))

    def wants_snapshot(self, mark: SnapshotMark) -> bool:
        """Ask immediately before replacing machine and log by a received snapshot. False: the log has got there by
        itself meanwhile, and installing would throw acknowledged entries away."""
        return self._state.role is not Role.LEADER and catching_up.wants(self._state, mark)


def _received(state: State, event: Received) -> None:
    """Compare terms (paper 5.1), then let the message's own verb act."""
    message = event.message
    kind = type(message)
    act = _MESSAGES.get(kind)
    if act is None or event.sender == state.me:
        return
    if message.term == state.term or kind in _OF_ANY_TERM:
        act(state, event.sender, message)
    elif message.term > state.term:
        if kind in _FROM_LEADERS or event.sender in state.members:
            enter_term(state, message.term)
            act(state, event.sender, message)
    elif kind in _FROM_LEADERS:
        # A leader that was succeeded: tell it so. Its own message would not be enough to depose it.
        state.send(event.sender, AppendReply(state.term, False, state.log.commit, 0))


def _on_peer_closed(state: State, event: PeerClosed) -> None:
    if state.role is Role.LEADER:
        leading.on_unreachable(state, event.peer)
        if state.transferring_to == event.peer:
            handing_over.give_up(state)
    elif state.leader == event.peer:
        state.leader = None
        state.offered = None
        state.role_changed = True
        timing.lost_leader(state)


def _on_applied(state: State, event: Applied) -> None:
    state.applied = max(state.applied, min(event.index, state.log.handed_out))


_OF_ANY_TERM = {VoteRequest, VoteReply}
_FROM_LEADERS = {Append, Heartbeat, SnapshotOffer, TimeoutNow}

_MESSAGES: dict[type, Callable[[State, NodeId, Any], None]] = {
    VoteRequest: election.on_vote_request,
    VoteReply: election.on_vote_reply,
    Append: appending.on_append,
    AppendReply: leading.on_append_reply,
    Heartbeat: appending.on_heartbeat,
    HeartbeatReply: leading.on_heartbeat_reply,
    TimeoutNow: election.on_timeout_now,
    SnapshotOffer: catching_up.on_snapshot_offer,
}

_EVENTS: dict[type, Callable[[State, Any], None]] = {
    Received: _received,
    Propose: lambda state, event: proposing.propose(state, event.payloads),
    Persisted: leading.on_persisted,
    Read: lambda state, event: reading.ask(state, event.token),
    PeerClosed: _on_peer_closed,
    PeerUnreachable: lambda state, event: leading.on_unreachable(state, event.peer),
    SnapshotInstalled: catching_up.on_installed,
    SnapshotSent: catching_up.on_sent,
    Compacted: catching_up.on_compacted,
    TransferLeadership: lambda state, event: handing_over.begin(state, event.to),
    ChangeMembership: lambda state, event: reconfiguring.change(state, event.target),
    Campaign: lambda state, _event: election.campaign_on_request(state),
    Applied: _on_applied,
}

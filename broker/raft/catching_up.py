"""Snapshots: taking one as a follower, the end of sending one as a leader, and forgetting what one covers.

Knows neither the machine nor the bytes of a snapshot; those travel outside the core (paper 7).
"""

from __future__ import annotations

from broker.base.ids import Index, NodeId
from broker.base.instants import Millis
from broker.raft.events import Compacted, SnapshotInstalled, SnapshotSent
from broker.raft.membership import MembershipHistory
from broker.raft.messages import AppendReply, SnapshotOffer
from broker.raft.progress import PeerState
from broker.raft.roles import follow
from broker.raft.state import State
from broker.raft.types import Role, SnapshotMark

_INSTALLATION_TIMEOUTS = 10
"""How many of the longest election time-outs a received snapshot may take to be installed."""


def on_snapshot_offer(state: State, sender: NodeId, message: SnapshotOffer) -> None:
    """The leader no longer has the log that this replica needs."""
    mark = message.mark
    if mark.index < 0 or not mark.membership.voters or not follow(state, sender):
        return
    if wants(state, mark):
        state.offered = mark
        state.offer_expires = None
        state.out.snapshot_offered = mark
        return
    # Figure 13, rule 6: a log that matches the mark keeps what lies behind it.
    state.log.commit = max(state.log.commit, mark.index)
    state.send_after_sync(sender, AppendReply(state.term, True, state.log.commit, message.round))


def awaits(state: State, index: Index) -> bool:
    """Whether an entry behind ``index`` comes too early: the leader has sent a snapshot that reaches it and is needed,
    and it may still be installed. Not for ever: what got lost between here and the disk must be asked for again."""
    offered = state.offered
    if offered is None or index < offered.index or not wants(state, offered):
        return False
    if state.offer_expires is None:
        state.offer_expires = Millis(state.now + _INSTALLATION_TIMEOUTS * state.config.election_timeout_max)
    return state.now < state.offer_expires


def wants(state: State, mark: SnapshotMark) -> bool:
    """Whether this replica's log neither reaches the mark nor can reach it by itself."""
    return mark.index > state.log.commit and state.log.term_at(mark.index) != mark.term


def on_installed(state: State, event: SnapshotInstalled) -> None:
    """The log restarts behind the mark. A snapshot that brings nothing new is left aside."""
    mark = event.mark
    state.offered = None
    if state.role is Role.LEADER or not wants(state, mark):
        return
    state.log.restart(mark)
    state.applied = mark.index
    state.memberships = MembershipHistory(mark.index, mark.membership)
    state.membership_moved()
    if state.leader is not None:
        state.send(state.leader, AppendReply(state.term, True, mark.index, 0))


def on_sent(state: State, event: SnapshotSent) -> None:
    """Leader: go on behind the snapshot, or try again, once the peer shows that it lives."""
    progress = state.progress.get(event.peer)
    if progress is None or progress.state is not PeerState.SNAPSHOT:
        return
    reached = progress.pending_snapshot if event.ok else progress.matched
    progress.probe(Index(reached + 1))
    progress.paused = True


def on_compacted(state: State, event: Compacted) -> None:
    """A mark beyond what was handed out, or behind the present one, cannot be meant."""
    mark = event.mark
    log = state.log
    if not log.mark.index <= mark.index <= log.handed_out or log.term_at(mark.index) != mark.term:
        return
    log.compact(mark, event.keep_from)
    state.memberships.forget_before(mark.index)

"""A leader's work: take office, count acknowledgements, advance the commit index, keep every peer's stream flowing,
and step down when a quorum is silent (paper 5.3, 5.4; dissertation 6.2).
"""

from __future__ import annotations

from broker.base.ids import Index, NodeId
from broker.raft import handing_over, quorum, reading, sending
from broker.raft.events import Persisted
from broker.raft.membership import is_voter
from broker.raft.messages import AppendReply, HeartbeatReply
from broker.raft.progress import PeerState, Progress
from broker.raft.proposing import append_noop
from broker.raft.reconfiguring import leave_joint
from broker.raft.roles import become_follower
from broker.raft.state import State
from broker.raft.timing import arm_heartbeat
from broker.raft.types import Role


def take_office(state: State) -> None:
    """Won. Every entry here was durable before the votes were asked for, unless nobody had to be asked: then this
    replica is mute until its own disk has the new term."""
    log = state.log
    state.role = Role.LEADER
    state.leader = state.me
    state.role_changed = True
    state.haste = 0
    state.lease_broken = False
    state.round_starts.clear()
    state.progress = {}
    state.track_members()
    state.mute = sum(state.votes.values()) == 1
    if not state.mute:
        log.persisted = log.last_index
    if state.me in state.progress:
        state.progress[state.me].matched = log.persisted
    sending.new_round(state)
    if state.has_peers:
        arm_heartbeat(state)
    append_noop(state)


def on_persisted(state: State, event: Persisted) -> None:
    """This replica's own disk: the leader counts itself like any other (dissertation 10.2.1)."""
    log = state.log
    if event.index <= log.persisted or log.term_at(event.index) != event.term:
        return
    log.persisted = event.index
    if state.role is not Role.LEADER:
        return
    if state.mute and event.term == state.term:
        state.mute = False
        state.role_changed = True
        sending.send_appends_to_all(state)
    own = state.progress.get(state.me)
    if own is not None:
        own.matched = event.index
        _advance_commit(state, event.index)


def on_append_reply(state: State, sender: NodeId, message: AppendReply) -> None:
    progress = state.progress.get(sender)
    if progress is None or state.role is not Role.LEADER:
        return
    _heard(state, progress, message.round)
    if message.matched:
        _matched(state, sender, progress, message.index)
    else:
        _refused(state, sender, progress, message)


def on_heartbeat_reply(state: State, sender: NodeId, message: HeartbeatReply) -> None:
    """The peer lives. If it does not advance although it lacks something, what was sent may be lost: look."""
    progress = state.progress.get(sender)
    if progress is None or state.role is not Role.LEADER:
        return
    _heard(state, progress, message.round)
    if progress.matched < state.log.last_index and progress.state is not PeerState.SNAPSHOT:
        if progress.state is PeerState.PROBE and not progress.paused:
            sending.send_appends(state, sender, progress)
        elif progress.stalled_at == progress.matched:
            sending.send_contact(state, sender, progress)
    progress.stalled_at = progress.matched


def _heard(state: State, progress: Progress, number: int) -> None:
    progress.heard_at = state.now
    if progress.acked_round < number <= state.round:
        progress.acked_round = number
        if state.read_round is not None:
            reading.confirm(state)


def _matched(state: State, peer: NodeId, progress: Progress, index: Index) -> None:
    log = state.log
    if index > log.last_index:
        return
    if index > progress.matched:
        progress.acknowledge(index)
        progress.confirmed_in = state.round
    elif progress.state is PeerState.REPLICATE or index < progress.matched:
        return
    if progress.state is PeerState.PROBE or (
        progress.state is PeerState.SNAPSHOT and progress.matched >= log.first_index - 1
    ):
        progress.replicate()
    _advance_commit(state, index)
    if state.role is not Role.LEADER:
        return
    if progress.next <= log.last_index:
        sending.send_appends(state, peer, progress)
    if state.transferring_to == peer:
        handing_over.summon(state, peer, progress)


def _refused(state: State, peer: NodeId, progress: Progress, message: AppendReply) -> None:
    """The logs differ before what was sent: step back as far as both terms allow (paper 5.3, end).

    A hint below what is known to match, or that agrees with this log just before the next entry, is an old answer.
    Unless it answers what was sent since: then the peer has lost what it had confirmed.
    """
    log = state.log
    hint = message.index
    if hint < progress.matched and message.round > progress.confirmed_in and not is_voter(state.membership, peer):
        progress.forget()
    if hint < progress.matched or progress.state is PeerState.SNAPSHOT:
        return
    if progress.state is PeerState.REPLICATE:
        progress.probe(Index(progress.matched + 1))
    else:
        before = progress.next - 1
        if hint > before or (hint == before and message.hint_term == log.term_at(Index(hint))):
            return
        agreeing, _ = log.last_agreeing(hint, message.hint_term)
        progress.probe(Index(agreeing + 1))
    sending.send_appends(state, peer, progress)


def _advance_commit(state: State, candidate: Index) -> None:
    """``candidate`` has one more replica. Only entries of this term are committed by counting (paper 5.4.2)."""
    log = state.log
    if candidate <= log.commit:
        return
    counts = {node: progress.matched for node, progress in state.progress.items()}
    index = Index(quorum.reached(state.membership, counts))
    if index <= log.commit or log.term_at(index) != state.term:
        return
    log.commit = index
    if state.membership.outgoing:
        leave_joint(state)
    if state.waiting_reads:
        reading.open_round(state)
    if not state.is_voter and state.memberships.current_index <= log.commit:
        handing_over.say_farewell(state)
        become_follower(state)


def on_unreachable(state: State, peer: NodeId) -> None:
    """What was in flight may be lost: find out where the peer is before sending more at once."""
    progress = state.progress.get(peer)
    if progress is not None and progress.state is PeerState.REPLICATE:
        progress.probe(Index(progress.matched + 1))


def wake(state: State) -> None:
    """Whatever of a leader's deadlines has come."""
    if state.transfer_due is not None and state.transfer_due <= state.now:
        handing_over.give_up(state)
    if state.heartbeat_due is not None and state.heartbeat_due <= state.now:
        if _quorum_is_silent(state):
            become_follower(state)
        else:
            sending.beat(state)


def _quorum_is_silent(state: State) -> bool:
    """Check-quorum: a leader that a quorum does not answer any more may have a successor (dissertation 6.2)."""
    heard: dict[NodeId, int] = {node: progress.heard_at for node, progress in state.progress.items()}
    if is_voter(state.membership, state.me):
        heard[state.me] = state.now
    return state.now - quorum.reached(state.membership, heard) > state.config.election_timeout_max

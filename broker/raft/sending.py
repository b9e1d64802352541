"""What a leader says to its peers: appends within each peer's window, heartbeats, the offer of a snapshot.

Knows when to speak and what of the log to put in a message; what answers mean is leading's affair.
"""

from __future__ import annotations

from broker.base.ids import Index, NodeId
from broker.raft.messages import Append, Heartbeat, SnapshotOffer
from broker.raft.progress import PeerState, Progress
from broker.raft.ready import SnapshotWanted
from broker.raft.state import State
from broker.raft.timing import arm_heartbeat

_APPENDS_AT_ONCE = 4
"""Per peer and event: a peer far behind must not make one event read its whole window from disk."""


def send_appends_to_all(state: State) -> None:
    me = state.me
    for peer, progress in state.progress.items():
        if peer != me:
            send_appends(state, peer, progress)


def send_appends(state: State, peer: NodeId, progress: Progress) -> None:
    """Send what the peer lacks and its window takes."""
    if state.mute:
        return
    config = state.config
    last = state.log.last_index
    budget = _APPENDS_AT_ONCE
    while progress.next <= last and budget:
        if progress.state is PeerState.REPLICATE:
            if progress.inflight >= config.max_inflight_appends or progress.inflight_bytes >= config.max_inflight_bytes:
                return
        elif progress.paused or progress.state is PeerState.SNAPSHOT:
            return
        message = _append(state, progress.next)
        if message is None:
            _offer_snapshot(state, peer, progress)
            return
        state.send(peer, message)
        entries = message.entries
        size = len(entries[0].data) if len(entries) == 1 else sum(len(entry.data) for entry in entries)
        progress.sent(entries[-1].index, size)
        budget -= 1


def send_contact(state: State, peer: NodeId, progress: Progress) -> None:
    """An append without entries: shows whether the logs agree just before ``progress.next``, should the appends that
    would show it have been lost."""
    if state.mute or progress.state is PeerState.SNAPSHOT:
        return
    log = state.log
    before = Index(progress.next - 1)
    term = log.term_at(before)
    if term is None or before < log.first_index - 1:
        _offer_snapshot(state, peer, progress)
        return
    state.send(peer, Append(state.term, before, term, log.commit, state.round))
    if progress.state is PeerState.PROBE:
        progress.paused = True


def _append(state: State, first: Index) -> Append | None:
    """The entries from ``first`` on; None if the log cannot serve it any more. Peers in step share one message."""
    log = state.log
    before = Index(first - 1)
    shared = state.shared_append
    if (
        shared is not None
        and shared.prev_index == before
        and shared.round == state.round
        and shared.commit == log.commit
        and shared.term == state.term
        and shared.entries[-1].index == log.last_index
    ):
        return shared
    term = log.term_at(before)
    entries = log.entries(first, log.last_index, state.config.max_append_bytes)
    if term is None or not entries:
        return None
    message = Append(state.term, before, term, log.commit, state.round, tuple(entries))
    state.shared_append = message
    return message


def _offer_snapshot(state: State, peer: NodeId, progress: Progress) -> None:
    """The peer needs what the log no longer has. One that is silent would not take a snapshot either."""
    if state.now - progress.heard_at > state.config.election_timeout_max:
        return
    mark = state.log.mark
    progress.await_snapshot(mark.index)
    state.send(peer, SnapshotOffer(state.term, mark, state.round))
    state.out.snapshots_wanted.append(SnapshotWanted(peer))


def new_round(state: State) -> None:
    """Messages from here on prove, when answered, that this replica still led now."""
    state.round += 1
    starts = state.round_starts
    starts.append((state.round, state.now))
    oldest = state.now - state.config.election_timeout_max
    while starts[0][1] < oldest:
        starts.popleft()


def send_heartbeats(state: State) -> None:
    """Tell everyone that this leader lives, and how far it knows them to be committed (paper 5.2, 5.3)."""
    if state.mute:
        return
    commit = state.log.commit
    message = Heartbeat(state.term, commit, state.round)
    for peer, progress in state.progress.items():
        if peer == state.me:
            continue
        if progress.matched >= commit:
            state.send(peer, message)
        else:
            state.send(peer, Heartbeat(state.term, progress.matched, state.round))


def beat(state: State) -> None:
    """The regular round of contact."""
    if not state.has_peers:
        state.heartbeat_due = None
        return
    new_round(state)
    send_heartbeats(state)
    arm_heartbeat(state)

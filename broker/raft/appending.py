"""A follower takes what the leader sends (paper 5.3): heartbeats and appends.

Acknowledgements wait for the disk (messages_after_sync): a Ready's go out only when everything staged before it is
durable, so an acknowledgement may always name the newest entry known to match, whichever event brought it.
"""

from __future__ import annotations

from broker.base.ids import Index, NodeId
from broker.raft import catching_up
from broker.raft import membership as memberships
from broker.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from broker.raft.roles import follow
from broker.raft.state import State
from broker.raft.types import Entry, EntryKind, Membership


def on_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> None:
    if not follow(state, sender):
        return
    log = state.log
    log.commit = max(log.commit, min(message.commit, log.last_index))
    state.send(sender, HeartbeatReply(state.term, message.round))


def on_append(state: State, sender: NodeId, message: Append) -> None:
    if not _is_sound(message) or not follow(state, sender):
        return
    log = state.log
    before, entries = message.prev_index, message.entries
    if before < log.commit:
        # What is committed here agrees with every leader's log (5.4.3): look only at what lies behind it.
        skip = log.commit - before
        if len(entries) <= skip:
            _acknowledge(state, sender, message, log.commit)
            return
        before, entries = log.commit, entries[skip:]
    elif log.term_at(before) != message.prev_term:
        _refuse(state, sender, message)
        return
    matched = Index(before + len(entries))
    if entries and not _take(state, before, entries):
        return
    if message.commit > log.commit:
        log.commit = max(log.commit, min(message.commit, matched))
    _acknowledge(state, sender, message, matched)


def _take(state: State, before: Index, entries: tuple[Entry, ...]) -> bool:
    """Append what is new, replacing what conflicts. False if nothing can be done with the entries."""
    log = state.log
    if before != log.last_index:
        known = 0
        while known < len(entries) and log.term_at(entries[known].index) == entries[known].term:
            known += 1
        entries = entries[known:]
        if not entries:
            return True
    if entries[0].term < (log.term_at(Index(entries[0].index - 1)) or 0):
        return False
    changes = _memberships_in(entries)
    if changes is None:
        return False
    if entries[0].index <= log.last_index:
        log.cut_from(entries[0].index)
        state.memberships.cut_from(entries[0].index)
        state.membership_moved()
    log.append(entries)
    state.out.entries.extend(entries)
    for index, membership in changes:
        state.memberships.append(index, membership)
        state.membership_moved()
    return True


def _memberships_in(entries: tuple[Entry, ...]) -> list[tuple[Index, Membership]] | None:
    """The memberships that ``entries`` put in force; None if one of them is not readable."""
    changes: list[tuple[Index, Membership]] = []
    for entry in entries:
        if entry.kind is EntryKind.MEMBERSHIP:
            try:
                changes.append((entry.index, memberships.decode(entry.data)))
            except ValueError:
                return None
    return changes


def _is_sound(message: Append) -> bool:
    """Whether a leader of that term can have sent this: entries in sequence, terms that never fall."""
    index, term = message.prev_index, message.prev_term
    if index < 0 or term < 0:
        return False
    for entry in message.entries:
        index = Index(index + 1)
        if entry.index != index or entry.term < term:
            return False
        term = entry.term
    return term <= message.term


def _acknowledge(state: State, leader: NodeId, message: Append, matched: Index) -> None:
    state.send_after_sync(leader, AppendReply(state.term, True, matched, message.round))


def _refuse(state: State, leader: NodeId, message: Append) -> None:
    """Say where the logs may agree. An append that builds on a snapshot still to be installed gets no answer: the
    leader asks again."""
    if catching_up.awaits(state, message.prev_index):
        return
    index, term = state.log.last_agreeing(message.prev_index, message.prev_term)
    state.send(leader, AppendReply(state.term, False, index, message.round, term))

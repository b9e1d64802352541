"""How entries enter the log at the leader: given terms and indices, put in the Ready, sent at once.

The leader's own disk and the peers work in parallel (dissertation 10.2.1). Knows nothing of payloads.
"""

from __future__ import annotations

from broker.base.ids import Index
from broker.raft import membership as memberships
from broker.raft.sending import send_appends_to_all
from broker.raft.state import State
from broker.raft.types import Entry, EntryKind, Membership, Role


def propose(state: State, payloads: list[bytes]) -> None:
    """Append ``payloads``. Refused, by leaving first_proposed empty, unless this replica leads and stays leader."""
    if state.role is not Role.LEADER or state.mute or state.transferring_to is not None or not payloads:
        return
    first = state.log.last_index + 1
    term = state.term
    normal = EntryKind.NORMAL
    _append(state, [Entry(Index(index), term, normal, data) for index, data in enumerate(payloads, first)])
    state.out.first_proposed = Index(first)


def append_noop(state: State) -> None:
    """The first entry of a new leader (paper 5.4.2, 8)."""
    _append(state, [Entry(Index(state.log.last_index + 1), state.term, EntryKind.NOOP, b"")])


def append_membership(state: State, membership: Membership) -> Index:
    """In force at once (dissertation 4.1)."""
    index = Index(state.log.last_index + 1)
    state.memberships.append(index, membership)
    state.membership_moved()
    _append(state, [Entry(index, state.term, EntryKind.MEMBERSHIP, memberships.encode(membership))])
    return index


def _append(state: State, entries: list[Entry]) -> None:
    state.log.append(entries)
    state.out.entries.extend(entries)
    send_appends_to_all(state)

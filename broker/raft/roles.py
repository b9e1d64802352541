"""Changes of role and term (paper figure 4), and what is laid down with an office.

Knows how to become a follower or a candidate; what a winner does first is leading's affair.
"""

from __future__ import annotations

from broker.base.ids import NodeId, Term
from broker.raft.reading import refuse_all
from broker.raft.state import State
from broker.raft.timing import arm_election, heard_leader
from broker.raft.types import Role


def enter_term(state: State, term: Term) -> None:
    """A higher term: nobody is voted for and nobody leads in it yet (paper 5.1).

    Loyalty outlasts the term: the leader that was heard may still count on it for its lease.
    """
    state.term = term
    state.vote = None
    state.hard_state_changed = True
    become_follower(state)


def become_follower(state: State) -> None:
    """Stop leading or campaigning, in the current term, with no leader known."""
    if state.role is Role.LEADER:
        _resign(state)
    state.role = Role.FOLLOWER
    state.leader = None
    state.offered = None
    state.role_changed = True
    arm_election(state)


def follow(state: State, leader: NodeId) -> bool:
    """``leader`` speaks as the leader of the current term. False if that cannot be: this replica leads it itself, or
    another one does."""
    if state.leader != leader:
        if state.leader is not None:
            return False
        state.role = Role.FOLLOWER
        state.leader = leader
        state.offered = None
        state.role_changed = True
    heard_leader(state)
    return True


def become_candidate(state: State, role: Role) -> None:
    """Run for office: PRE_CANDIDATE asks whether it would win, CANDIDATE opens a new term and votes for itself."""
    if role is Role.CANDIDATE:
        state.term = Term(state.term + 1)
        state.vote = state.me
        state.hard_state_changed = True
    state.role = role
    state.leader = None
    state.offered = None
    state.role_changed = True
    state.votes = {state.me: True}
    if state.haste:
        state.haste += 1
    arm_election(state)


def _resign(state: State) -> None:
    refuse_all(state)
    state.progress = {}
    state.heartbeat_due = None
    state.transferring_to = None
    state.transfer_due = None
    state.shared_append = None
    state.mute = False

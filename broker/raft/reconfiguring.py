"""Changes of membership (dissertation 4.3): the leader enters the joint phase, and leaves it by itself.

Knows nothing of where replicas should live.
"""

from __future__ import annotations

from broker.raft import membership as memberships
from broker.raft.proposing import append_membership
from broker.raft.state import State
from broker.raft.timing import arm_heartbeat
from broker.raft.types import Membership, Role


def change(state: State, target: Membership) -> None:
    """Begin to move to ``target``; first_proposed tells the entry. Refused while another change is under way, while
    handing over, before anything of this term is committed, and for a target that is none."""
    log = state.log
    if (
        state.role is not Role.LEADER
        or state.transferring_to is not None
        or state.membership.outgoing
        or state.memberships.current_index > log.commit
        or log.term_at(log.commit) != state.term
        or not memberships.is_target(target)
    ):
        return
    step = memberships.first_step(state.membership, target)
    if step == state.membership:
        return
    state.out.first_proposed = append_membership(state, step)
    if state.heartbeat_due is None and state.has_peers:
        arm_heartbeat(state)


def leave_joint(state: State) -> None:
    """The leader's commit index moved: once it covers the joint membership, append the final one."""
    if state.membership.outgoing and state.memberships.current_index <= state.log.commit:
        append_membership(state, memberships.last_step(state.membership))

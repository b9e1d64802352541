"""Leadership transfer (dissertation 3.10), the leader's side: bring the heir up to date, tell it to campaign, and
refuse proposals until it has won or the time is up. Also the farewell of a leader that was removed from the group.
"""

from __future__ import annotations

from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.raft import membership as memberships
from broker.raft.messages import TimeoutNow
from broker.raft.progress import Progress
from broker.raft.sending import send_appends, send_contact, send_heartbeats
from broker.raft.state import State
from broker.raft.types import Role


def begin(state: State, heir: NodeId) -> None:
    """Ignored unless this replica leads and ``heir`` is another voter. A new heir replaces an earlier one."""
    if (
        state.role is not Role.LEADER
        or heir in {state.me, state.transferring_to}
        or not memberships.is_voter(state.membership, heir)
    ):
        return
    state.transferring_to = heir
    state.transfer_due = Millis(state.now + state.config.transfer_timeout)
    progress = state.progress[heir]
    if progress.matched == state.log.last_index:
        summon(state, heir, progress)
    else:
        send_appends(state, heir, progress)
        send_contact(state, heir, progress)


def summon(state: State, heir: NodeId, progress: Progress) -> None:
    """Tell the heir to campaign, if it holds all that this leader holds. Its election ignores the leader's lease."""
    if progress.matched == state.log.last_index and not state.mute:
        state.lease_broken = True
        state.send(heir, TimeoutNow(state.term))


def give_up(state: State) -> None:
    """The time is up, or the heir is gone: lead on."""
    state.transferring_to = None
    state.transfer_due = None


def say_farewell(state: State) -> None:
    """This leader is no voter any more, and the entry that says so is committed: let everyone know, and the voter that
    is furthest take over without waiting for a time-out."""
    send_heartbeats(state)
    voters = [(state.progress[node].matched, node) for node in state.membership.voters]
    furthest, heir = max(voters)
    if furthest == state.log.last_index:
        summon(state, heir, state.progress[heir])

"""When a replica acts by itself. Deadlines, not ticks: a replica with nothing to do has exactly one.

Milliseconds of the monotonic clock. Knows no messages.
"""

from __future__ import annotations

from broker.base.instants import Millis, earliest
from broker.raft.state import State
from broker.raft.types import Role

LEASE_MARGIN_PERCENT = 10
"""Part of the lease given up for clocks that do not run at quite the same rate."""


def arm_election(state: State) -> None:
    """Start an election after a random time without a leader (paper 5.2, 9.3).

    Once the leader's process is known to be gone there is nothing to wait for: retries begin at the delay that keeps
    candidates apart and double until they are ordinary time-outs.
    """
    config = state.config
    low, high = config.election_timeout_min, config.election_timeout_max
    state.election_timeout = Millis(state.chance.randint(low, high))
    state.election_due = Millis(state.now + state.election_timeout)
    if state.haste:
        hurried = max(1, config.lost_leader_delay_max) << max(0, state.haste - 2)
        if hurried < low:
            state.election_due = Millis(state.now + state.chance.randint(hurried, 2 * hurried))
        else:
            state.haste = 0


def heard_leader(state: State) -> None:
    """A message of the current leader: stay loyal, and wait anew."""
    state.haste = 0
    state.loyal_until = Millis(state.now + state.config.election_timeout_min)
    state.election_due = Millis(state.now + state.election_timeout)


def lost_leader(state: State) -> None:
    """The leader's process is gone: owe it nothing, and run for its place almost at once."""
    state.loyal_until = state.now
    state.haste = 1
    state.election_due = Millis(state.now + state.chance.randint(0, state.config.lost_leader_delay_max))


def stand_back(state: State) -> None:
    """Another replica was told that it would get this one's vote: leave it the time to ask for it."""
    delay = state.config.lost_leader_delay_max
    grace = Millis(state.now + state.chance.randint(delay, 2 * delay))
    state.election_due = max(state.election_due, grace)


def is_loyal(state: State) -> bool:
    """Whether a leader is known to be alive, so that nobody else is helped to win (dissertation 4.2.3)."""
    return state.role is Role.LEADER or state.now < state.loyal_until


def arm_heartbeat(state: State) -> None:
    """The next multiple of the interval, so that the heartbeats of all groups of a node coincide."""
    interval = state.config.heartbeat_interval
    state.heartbeat_due = Millis((state.now // interval + 1) * interval)


def lease_length(state: State) -> int:
    """How long after a round's start its confirmation keeps every other replica from being elected."""
    return state.config.election_timeout_min * (100 - LEASE_MARGIN_PERCENT) // 100


def next_deadline(state: State) -> Millis | None:
    if state.log.handed_out < state.log.commit:
        return state.now
    if state.role is Role.LEADER:
        return earliest(state.heartbeat_due, state.transfer_due)
    return state.election_due if state.may_campaign else None

"""Strong reads without a log entry (dissertation 6.4): by a round of contact that any number of reads share, or from
the leader's lease.

Knows nothing of what is read.
"""

from __future__ import annotations

from broker.raft import quorum
from broker.raft.ready import ReadGrant
from broker.raft.sending import new_round, send_heartbeats
from broker.raft.state import ReadRound, State
from broker.raft.timing import lease_length
from broker.raft.types import Role


def ask(state: State, token: int) -> None:
    """A read wants an index. It waits for the round under way, if there is one, and shares the next."""
    if state.role is not Role.LEADER:
        state.out.refused_reads.append(token)
        return
    state.waiting_reads.append(token)
    open_round(state)


def open_round(state: State) -> None:
    """Start confirming for all reads that wait, unless a round is under way or nothing of this term is committed yet:
    until then the leader may not know all that is (6.4, step 1)."""
    log = state.log
    if not state.waiting_reads or state.read_round is not None or log.term_at(log.commit) != state.term:
        return
    tokens, state.waiting_reads = state.waiting_reads, []
    if state.is_alone or (state.config.lease_reads and _holds_lease(state)):
        state.out.reads.extend([ReadGrant(token, log.commit) for token in tokens])
        return
    new_round(state)
    state.read_round = ReadRound(state.round, log.commit, tokens)
    send_heartbeats(state)


def confirm(state: State) -> None:
    """A peer answered: grant the reads if a quorum has answered their round or a later one."""
    waiting = state.read_round
    if waiting is None or _confirmed_round(state) < waiting.round:
        return
    state.read_round = None
    state.out.reads.extend([ReadGrant(token, waiting.index) for token in waiting.tokens])
    open_round(state)


def refuse_all(state: State) -> None:
    """This replica leads no longer."""
    refused = state.out.refused_reads
    if state.read_round is not None:
        refused.extend(state.read_round.tokens)
        state.read_round = None
    refused.extend(state.waiting_reads)
    state.waiting_reads = []


def _confirmed_round(state: State) -> int:
    rounds = {node: progress.acked_round for node, progress in state.progress.items()}
    rounds[state.me] = state.round
    return quorum.reached(state.membership, rounds)


def _holds_lease(state: State) -> bool:
    """Whether nobody else can have been elected: a quorum answered a round so recent that it is still loyal (6.4.1).

    Asking for an election that ignores loyalty gives the lease up for the rest of the term.
    """
    if state.lease_broken:
        return False
    confirmed = _confirmed_round(state)
    for number, started in reversed(state.round_starts):
        if number <= confirmed:
            return state.now < started + lease_length(state)
    return False

"""Winning and granting votes (paper 5.2, 5.4.1), asking first whether one would win (dissertation 9.6), and campaigning
on the old leader's word (3.10).

Votes are promises: given or asked for only when the disk has them. Pre-votes promise nothing and go out at once.
"""

from __future__ import annotations

from broker.base.ids import NodeId, Term
from broker.raft import quorum
from broker.raft.leading import take_office
from broker.raft.messages import TimeoutNow, VoteReply, VoteRequest
from broker.raft.roles import become_candidate, become_follower, enter_term
from broker.raft.state import State
from broker.raft.timing import arm_election, is_loyal, stand_back
from broker.raft.types import Role


def campaign(state: State) -> None:
    """Ask everyone whether this replica would win, unless it leads already or cannot."""
    if state.role is Role.LEADER or not state.may_campaign:
        return
    become_candidate(state, Role.PRE_CANDIDATE)
    if _count(state):
        return
    log = state.log
    request = VoteRequest(Term(state.term + 1), log.last_index, log.last_term, pre=True)
    for peer in _electorate(state):
        state.send(peer, request)


def campaign_on_request(state: State) -> None:
    """Not against a leader that lives: this replica's own loyalty is part of the lease, too."""
    if not is_loyal(state):
        campaign(state)


def _stand(state: State, *, transfer: bool = False) -> None:
    """Open a new term and ask for votes, once the disk has the term and the vote for oneself."""
    become_candidate(state, Role.CANDIDATE)
    if _count(state):
        return
    log = state.log
    request = VoteRequest(state.term, log.last_index, log.last_term, transfer=transfer)
    for peer in _electorate(state):
        state.send_after_sync(peer, request)


def _electorate(state: State) -> list[NodeId]:
    return sorted({*state.membership.voters, *state.membership.outgoing} - {state.me})


def _count(state: State) -> bool:
    """Act on the votes so far. True if they decided."""
    verdict = quorum.verdict(state.membership, state.votes)
    if verdict is quorum.Verdict.PENDING:
        return False
    if verdict is quorum.Verdict.LOST:
        become_follower(state)
    elif state.role is Role.PRE_CANDIDATE:
        _stand(state)
    else:
        take_office(state)
    return True


def on_vote_request(state: State, sender: NodeId, message: VoteRequest) -> None:
    """Any term. A request for a higher one is not even looked at while a leader is known to live."""
    if message.term > state.term:
        if message.transfer:
            state.loyal_until = state.now
        elif is_loyal(state):
            return
        if not message.pre:
            enter_term(state, message.term)
    log = state.log
    unbound = state.vote == sender or (state.vote is None and state.leader is None)
    free = (message.pre and message.term > state.term) or (message.term == state.term and unbound)
    granted = free and (message.last_term, message.last_index) >= (log.last_term, log.last_index)
    if message.pre:
        state.send(sender, VoteReply(message.term if granted else state.term, granted, pre=True))
        if granted:
            stand_back(state)
    elif granted:
        if state.vote is None:
            state.vote = sender
            state.hard_state_changed = True
        arm_election(state)
        state.send_after_sync(sender, VoteReply(state.term, True))
    else:
        state.send(sender, VoteReply(state.term, False))


def on_vote_reply(state: State, sender: NodeId, message: VoteReply) -> None:
    """Any term: a granted pre-vote is for the next one. A refusal tells the term of who refused."""
    if message.term > state.term and not (message.pre and message.granted):
        if sender in state.members:
            enter_term(state, message.term)
        return
    wanted = Role.PRE_CANDIDATE if message.pre else Role.CANDIDATE
    expected = state.term + 1 if message.pre and message.granted else state.term
    if state.role is not wanted or message.term != expected or sender not in state.members:
        return
    state.votes.setdefault(sender, message.granted)
    _count(state)


def on_timeout_now(state: State, sender: NodeId, _message: TimeoutNow) -> None:
    """The leader hands over: no pre-vote, and nobody's loyalty stands in the way (dissertation 3.10)."""
    if state.leader == sender and state.role is Role.FOLLOWER and state.is_voter:
        _stand(state, transfer=True)

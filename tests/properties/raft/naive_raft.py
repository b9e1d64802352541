"""Raft once more, as the paper tells it and as slowly as can be: one replica whose log is a list that no snapshot ever
shortens, and whose memberships are looked up in it whenever they are needed.

Written from the paper (figure 2, section 5), the dissertation (4.2, 4.3, 6.2, 9.6) and the meaning of our messages, not
from our core. Where Raft leaves a choice (when to time out, what to send and when), it is told what the core chose.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.raft import messages
from broker.raft.types import Entry, EntryKind, Membership

FOLLOWER, ASKING, CANDIDATE, LEADER = range(4)
_memberships = msgspec.msgpack.Decoder(Membership)


def majority_of(voters: tuple[str, ...], agreeing: set[str]) -> bool:
    return not voters or 2 * len(agreeing & set(voters)) > len(voters)


def quorum(membership: Membership, agreeing: set[str]) -> bool:
    """Joint consensus: a majority of the new and of the old (4.3)."""
    return majority_of(membership.voters, agreeing) and majority_of(membership.outgoing, agreeing)


def everybody(membership: Membership) -> set[str]:
    return {*membership.voters, *membership.outgoing, *membership.learners, *membership.next_learners}


class NaiveRaft:
    """``loyalty``: after hearing a leader, votes are withheld so long; ``silence``: a leader that hears no quorum
    for longer steps down. Milliseconds."""

    def __init__(self, me: str, founders: Membership, loyalty: int, silence: int) -> None:
        self.me, self.founders, self.loyalty, self.silence = me, founders, loyalty, silence
        self.term, self.vote, self.log = 0, None, []  # type: tuple[int, str | None, list[Entry]]
        self.restart(0)

    def restart(self, now: int, commit: int = 0) -> None:
        self.role, self.leader, self.commit = FOLLOWER, None, commit  # type: tuple[int, str | None, int]
        self.loyal_until = now
        self.votes: dict[str, bool] = {}
        self.match: dict[str, int] = {}
        self.heard: dict[str, int] = {}
        self.heir: str | None = None
        self.alone = False
        """Nobody else has voted for this leader, and its own vote is not on its disk: it may not act yet."""

    # --- what the log says

    def term_at(self, index: int) -> int:
        return self.log[index - 1].term if index else 0

    def memberships(self) -> list[tuple[int, Membership]]:
        found = [(e.index, _memberships.decode(e.data)) for e in self.log if e.kind is EntryKind.MEMBERSHIP]
        return [(0, self.founders), *found]

    @property
    def membership(self) -> Membership:
        return self.memberships()[-1][1]

    def votes_in(self, membership: Membership) -> bool:
        return self.me in membership.voters or self.me in membership.outgoing

    def may_stand(self) -> bool:
        """A voter; or one whose removal may not be committed (4.2.2)."""
        history = self.memberships()
        committed = max(index for index, _ in history if index <= self.commit or index == 0)
        return any(self.votes_in(membership) for index, membership in history if index >= committed)

    # --- elections

    def stand(self, now: int) -> None:
        """Ask whether this replica would win, before it disturbs anybody (9.6)."""
        if self.role != LEADER and self.may_stand():
            self._run(ASKING, now)

    def _run(self, role: int, now: int) -> None:
        if role == CANDIDATE:
            self.term, self.vote = self.term + 1, self.me
        self.role, self.leader, self.votes = role, None, {self.me: True}
        self._count(now)

    def _count(self, now: int) -> None:
        granted = {node for node, vote in self.votes.items() if vote}
        possible = everybody(self.membership) - {node for node, vote in self.votes.items() if not vote}
        if quorum(self.membership, granted):
            if self.role == ASKING:
                self._run(CANDIDATE, now)
            else:
                self._lead(now, alone=granted == {self.me})
        elif not quorum(self.membership, possible):
            self._follow(None)

    def _lead(self, now: int, alone: bool) -> None:
        self.role, self.leader, self.alone = LEADER, self.me, alone
        self.match = dict.fromkeys(everybody(self.membership), 0)
        self.heard = dict.fromkeys(everybody(self.membership), now)
        if self.me in self.match and not alone:
            self.match[self.me] = len(self.log)  # durable before anybody was asked for a vote
        self._append(EntryKind.NOOP, b"", now)

    def _follow(self, leader: str | None) -> None:
        self.role, self.leader, self.alone, self.heir = FOLLOWER, leader, False, None

    def _enter(self, term: int) -> None:
        self.term, self.vote = term, None
        self._follow(None)

    def vote_asked(self, sender: str, asked: messages.VoteRequest, now: int) -> bool | None:
        """Whether the vote is given; None: the request is not even looked at."""
        if asked.term > self.term:
            if asked.transfer:
                self.loyal_until = now
            elif self.role == LEADER or now < self.loyal_until:
                return None
            if not asked.pre:
                self._enter(asked.term)
        current = (self.log[-1].term, len(self.log)) if self.log else (0, 0)
        up_to_date = (asked.last_term, asked.last_index) >= current
        undecided = self.vote == sender or (self.vote is None and self.leader is None)
        free = undecided if asked.term == self.term else asked.pre and asked.term > self.term
        if free and up_to_date and not asked.pre:
            self.vote = sender
        return bool(free and up_to_date)

    def vote_told(self, sender: str, told: messages.VoteReply, now: int) -> None:
        known = sender in everybody(self.membership)
        if told.term > self.term and not (told.pre and told.granted):
            if known:
                self._enter(told.term)
            return
        wanted = (ASKING, self.term + told.granted) if told.pre else (CANDIDATE, self.term)
        if known and (self.role, told.term) == wanted:
            self.votes.setdefault(sender, told.granted)
            self._count(now)

    # --- followers

    def _hear(self, leader: str, term: int, now: int) -> bool:
        if term > self.term:
            self._enter(term)
        if term < self.term or self.leader not in (None, leader):
            return False
        self._follow(leader)
        self.loyal_until = now + self.loyalty
        return True

    def append_told(self, leader: str, told: messages.Append, now: int) -> bool | None:
        """Whether the logs agree before the entries; None: not the leader, as far as known here."""
        if not self._hear(leader, told.term, now):
            return None
        if told.prev_index > len(self.log) or self.term_at(told.prev_index) != told.prev_term:
            return False
        for entry in told.entries:
            if entry.index <= len(self.log) and self.term_at(entry.index) != entry.term:
                del self.log[entry.index - 1 :]
            if entry.index > len(self.log):
                self.log.append(entry)
        self.commit = max(self.commit, min(told.commit, told.prev_index + len(told.entries)))
        return True

    def heartbeat_told(self, leader: str, told: messages.Heartbeat, now: int) -> None:
        if self._hear(leader, told.term, now):
            self.commit = max(self.commit, min(told.commit, len(self.log)))

    def snapshot_told(self, leader: str, told: messages.SnapshotOffer, now: int) -> None:
        if self._hear(leader, told.term, now) and not self.lacks(told.mark.index, told.mark.term):
            self.commit = max(self.commit, told.mark.index)

    def lacks(self, index: int, term: int) -> bool:
        return index > self.commit and (index > len(self.log) or self.term_at(index) != term)

    def installed(self, log: list[Entry]) -> None:
        self.log, self.commit = list(log), len(log)

    def summoned(self, leader: str, term: int, now: int) -> None:
        """TimeoutNow (3.10)."""
        if term > self.term:
            self._enter(term)
        elif term == self.term and (self.role, self.leader) == (FOLLOWER, leader) and self.votes_in(self.membership):
            self._run(CANDIDATE, now)

    # --- leaders

    def proposed(self, payloads: list[bytes], now: int) -> None:
        if self.role == LEADER and not self.alone and self.heir is None:
            for payload in payloads:
                self._append(EntryKind.NORMAL, payload, now)

    def _append(self, kind: EntryKind, data: bytes, now: int) -> None:
        self.log.append(Entry(len(self.log) + 1, self.term, kind, data))  # type: ignore[arg-type]
        if kind is EntryKind.MEMBERSHIP:
            nodes = everybody(self.membership)
            self.match = {node: self.match.get(node, 0) for node in nodes}
            self.heard = {node: self.heard.get(node, now) for node in nodes}

    def answered(self, peer: str, reply: messages.AppendReply | messages.HeartbeatReply, now: int) -> None:
        if reply.term > self.term and peer in everybody(self.membership):
            self._enter(reply.term)
        if self.role != LEADER or reply.term != self.term or peer not in self.match:
            return
        self.heard[peer] = now
        if type(reply) is messages.AppendReply and reply.matched and self.match[peer] < reply.index <= len(self.log):
            self.match[peer] = reply.index
            self._advance(reply.index, now)

    def persisted(self, index: int, term: int, now: int) -> None:
        if self.role != LEADER or index > len(self.log) or self.term_at(index) != term:
            return
        self.alone = self.alone and term != self.term
        if self.me in self.match and self.match[self.me] < index:
            self.match[self.me] = index
            self._advance(index, now)

    def agreed(self) -> int:
        """The last entry of this term that a quorum holds, and with it all before (5.3, 5.4.2)."""
        for index in range(len(self.log), self.commit, -1):
            holding = {node for node, matched in self.match.items() if matched >= index}
            if self.term_at(index) == self.term and quorum(self.membership, holding):
                return index
        return self.commit

    def _advance(self, newly: int, now: int) -> None:
        """Raft leaves open when a leader looks; ours does when an entry that is not committed has one more replica."""
        if newly > self.commit and self.agreed() > self.commit:
            self.commit = self.agreed()
            in_force, current = self.memberships()[-1]
            if current.outgoing and in_force <= self.commit:
                self._change(Membership(current.voters, (), _sorted({*current.learners, *current.next_learners})), now)
            elif not self.votes_in(current) and in_force <= self.commit:
                self._follow(None)

    def reconfigured(self, target: Membership, now: int) -> None:
        in_force, current = self.memberships()[-1]
        busy = self.role != LEADER or self.heir is not None or current.outgoing or in_force > self.commit
        if busy or self.term_at(self.commit) != self.term:
            return
        voters, learners = _sorted(target.voters), set(target.learners)
        if voters == current.voters:
            wanted = Membership(voters, (), _sorted(learners))
        else:  # whoever votes in the old half learns only when that is over
            later = learners & set(current.voters)
            wanted = Membership(voters, current.voters, _sorted(learners - later), _sorted(later))
        if wanted != current:
            self._change(wanted, now)

    def _change(self, membership: Membership, now: int) -> None:
        self._append(EntryKind.MEMBERSHIP, msgspec.msgpack.encode(membership), now)

    def handed_over(self, heir: str) -> None:
        if self.role == LEADER and heir != self.me and heir in self.membership.voters + self.membership.outgoing:
            self.heir = heir

    def looked_around(self, now: int) -> None:
        """Check quorum (6.2)."""
        lately = {node for node, at in self.heard.items() if now - at <= self.silence}
        if self.role == LEADER and not quorum(self.membership, lately | {self.me} - _strangers(self)):
            self._follow(None)

    def closed(self, peer: str, now: int) -> None:
        if self.role == LEADER:
            self.heir = None if self.heir == peer else self.heir
        elif self.leader == peer:
            self.leader, self.loyal_until = None, now


def _strangers(replica: NaiveRaft) -> set[str]:
    return set() if replica.votes_in(replica.membership) else {replica.me}


def _sorted(nodes: Any) -> tuple[Any, ...]:
    return tuple(sorted(nodes))

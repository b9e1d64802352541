"""Who belongs to the group: the steps of a change (dissertation 4.3) and the memberships that the log contains.

A membership is in force from the moment its entry is appended, and falls with the entry when that is replaced.
Knows nothing of elections, peers or progress.
"""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, NodeId
from broker.raft.types import Membership

_decoder = msgspec.msgpack.Decoder(Membership)


def encode(membership: Membership) -> bytes:
    """What a MEMBERSHIP entry carries."""
    return msgspec.msgpack.encode(membership)


def decode(data: bytes) -> Membership:
    """Raises ValueError unless ``data`` is what ``encode`` made of a membership with at least one voter."""
    found = _decoder.decode(data)
    if not found.voters:
        raise ValueError("a membership needs at least one voter, this one has none")
    return found


def members(membership: Membership) -> set[NodeId]:
    """Everyone who receives the log."""
    return {*membership.voters, *membership.outgoing, *membership.learners, *membership.next_learners}


def is_voter(membership: Membership, node: NodeId) -> bool:
    return node in membership.voters or node in membership.outgoing


def is_target(membership: Membership) -> bool:
    """Whether this can be what a change aims at: voters, none of them twice or a learner too, and no joint phase."""
    named = (*membership.voters, *membership.learners)
    return (
        bool(membership.voters)
        and not membership.outgoing
        and not membership.next_learners
        and len(set(named)) == len(named)
    )


def first_step(current: Membership, target: Membership) -> Membership:
    """What to append in order to get from ``current`` to ``target``, neither of them joint: the joint membership, or
    the target itself where the voters stay the same and so every majority does."""
    learners = tuple(sorted(target.learners))
    voters = tuple(sorted(target.voters))
    if voters == current.voters:
        return Membership(voters, (), learners)
    leaving = set(current.voters)
    return Membership(
        voters=voters,
        outgoing=current.voters,
        learners=tuple(node for node in learners if node not in leaving),
        next_learners=tuple(node for node in learners if node in leaving),
    )


def last_step(joint: Membership) -> Membership:
    """What to append in order to leave the joint phase."""
    return Membership(joint.voters, (), tuple(sorted({*joint.learners, *joint.next_learners})))


class MembershipHistory:
    """The membership at the snapshot and every later one in the log, ascending, so that each can be rolled back."""

    __slots__ = ("_steps",)

    def __init__(self, base: Index, membership: Membership, later: tuple[tuple[Index, Membership], ...] = ()) -> None:
        self._steps = [(base, membership), *later]

    @property
    def current(self) -> Membership:
        return self._steps[-1][1]

    @property
    def current_index(self) -> Index:
        """The entry that put the current membership in force."""
        return self._steps[-1][0]

    def at(self, index: Index) -> Membership:
        """The membership in force once the log ends at ``index``; never older than the base."""
        for since, membership in reversed(self._steps):
            if since <= index:
                return membership
        return self._steps[0][1]

    def may_vote(self, node: NodeId, committed: Index) -> bool:
        """Whether ``node`` votes in the membership committed last or in a later one: any of them may turn out to be the
        one in force, and until the newest is committed those it removes may be needed to finish it (4.2.2)."""
        for since, membership in reversed(self._steps):
            if is_voter(membership, node):
                return True
            if since <= committed:
                return False
        return False

    def append(self, index: Index, membership: Membership) -> None:
        self._steps.append((index, membership))

    def cut_from(self, index: Index) -> None:
        """The entries from ``index`` on are gone."""
        while len(self._steps) > 1 and self._steps[-1][0] >= index:
            self._steps.pop()

    def forget_before(self, index: Index) -> None:
        """Nothing before ``index`` will be rolled back or asked for."""
        while len(self._steps) > 1 and self._steps[1][0] <= index:
            del self._steps[0]

"""The arithmetic of majorities, for one set of voters and for two at once (dissertation 4.3). Knows no protocol.

An empty set of voters agrees to everything, as the missing half of a membership that is not joint must.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from broker.base.ids import NodeId
from broker.raft.types import Membership


class Verdict(Enum):
    """Where a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(voters: int) -> int:
    """How many of ``voters`` are a majority."""
    return voters // 2 + 1


def reached(membership: Membership, values: Mapping[NodeId, int]) -> int:
    """The largest number that a quorum has reached: in joint consensus, a majority of either set. A voter without a
    value has reached 0."""
    result = _reached(membership.voters, values)
    return min(result, _reached(membership.outgoing, values)) if membership.outgoing else result


def _reached(voters: Iterable[NodeId], values: Mapping[NodeId, int]) -> int:
    ranked = sorted([values.get(voter, 0) for voter in voters])
    return ranked[(len(ranked) - 1) // 2] if ranked else 0


def verdict(membership: Membership, votes: Mapping[NodeId, bool]) -> Verdict:
    """Where the vote stands; a voter absent from ``votes`` has not answered. Others' votes do not count."""
    halves = {_verdict(membership.voters, votes), _verdict(membership.outgoing, votes)}
    if Verdict.LOST in halves:
        return Verdict.LOST
    return Verdict.PENDING if Verdict.PENDING in halves else Verdict.WON


def _verdict(voters: tuple[NodeId, ...], votes: Mapping[NodeId, bool]) -> Verdict:
    if not voters:
        return Verdict.WON
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(not votes.get(voter, True) for voter in voters)
    needed = majority(len(voters))
    if granted >= needed:
        return Verdict.WON
    return Verdict.LOST if len(voters) - refused < needed else Verdict.PENDING

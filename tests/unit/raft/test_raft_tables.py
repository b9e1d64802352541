"""The arithmetic of quorums and of changes of membership: against tables, and by definition for all small sets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, product
from pathlib import Path

import pytest

from broker.base.ids import NodeId
from broker.raft.membership import first_step, is_target, is_voter, last_step, members
from broker.raft.quorum import Verdict, reached, verdict
from broker.raft.types import Membership

_TABLES = Path(__file__).parent / "tables"


def _rows(table: str) -> list[tuple[str, ...]]:
    lines = (line.partition("#")[0].strip() for line in (_TABLES / table).read_text().splitlines())
    return [tuple(cell.strip() for cell in line.split("|")) for line in lines if line]


def _nodes(text: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(node) for node in sorted(text))


def _membership(text: str) -> Membership:
    """``voters&outgoing+learners~next learners``, of which all but the first may be left out."""
    text, _, following = text.partition("~")
    text, _, learners = text.partition("+")
    voters, _, outgoing = text.partition("&")
    return Membership(_nodes(voters), _nodes(outgoing), _nodes(learners), _nodes(following))


@pytest.mark.parametrize(("voters", "outgoing", "values", "expected"), _rows("reached.txt"))
def test_what_a_quorum_has_reached(voters: str, outgoing: str, values: str, expected: str) -> None:
    by_node = {NodeId(pair[0]): int(pair[2:]) for pair in values.split()}
    assert reached(Membership(_nodes(voters), _nodes(outgoing)), by_node) == int(expected)


@pytest.mark.parametrize(("voters", "outgoing", "granted", "refused", "expected"), _rows("votes.txt"))
def test_where_a_vote_stands(voters: str, outgoing: str, granted: str, refused: str, expected: str) -> None:
    votes = {NodeId(node): True for node in granted} | {NodeId(node): False for node in refused}
    assert verdict(Membership(_nodes(voters), _nodes(outgoing)), votes) is Verdict(expected)


@pytest.mark.parametrize(("current", "target", "joint", "final"), _rows("changes.txt"))
def test_the_way_of_a_change(current: str, target: str, joint: str, final: str) -> None:
    step = first_step(_membership(current), _membership(target))
    if joint == "-":
        assert step == _membership(final)
    else:
        assert step == _membership(joint)
        assert last_step(step) == _membership(final)


# --- by definition, for all small sets


def _subsets(nodes: str, least: int = 0) -> Iterator[tuple[NodeId, ...]]:
    found = chain.from_iterable(combinations(nodes, size) for size in range(least, len(nodes) + 1))
    return (tuple(NodeId(node) for node in each) for each in found)


def _is_quorum(membership: Membership, agreeing: set[NodeId]) -> bool:
    """More than half of the voters and, in a joint phase, more than half of those before."""
    halves = [half for half in (membership.voters, membership.outgoing) if half]
    return all(2 * len(agreeing & set(half)) > len(half) for half in halves)


def _quorums(membership: Membership) -> list[set[NodeId]]:
    everyone = "".join(sorted({*membership.voters, *membership.outgoing}))
    return [set(each) for each in _subsets(everyone) if _is_quorum(membership, set(each))]


_HALVES = [Membership(new, old) for new in _subsets("abcd", 1) for old in _subsets("abcd")]


def test_what_is_reached_is_the_highest_that_some_quorum_has_passed() -> None:
    for membership in _HALVES:
        nodes = sorted({*membership.voters, *membership.outgoing})
        for values in product((0, 1, 2, 3), repeat=len(nodes)):
            by_node = dict(zip(nodes, values, strict=True))
            passed = [value for value in range(4) if _is_quorum(membership, {n for n in nodes if by_node[n] >= value})]
            assert reached(membership, by_node) == max(passed), (membership, by_node)


def test_a_vote_is_decided_when_no_answer_still_missing_can_change_it() -> None:
    for membership in _HALVES:
        nodes = sorted({*membership.voters, *membership.outgoing})
        for answers in product((True, False, None), repeat=len(nodes)):
            votes = {node: answer for node, answer in zip(nodes, answers, strict=True) if answer is not None}
            granted = {node for node, vote in votes.items() if vote}
            possible = set(nodes) - {node for node, vote in votes.items() if not vote}
            expected = (
                Verdict.WON
                if _is_quorum(membership, granted)
                else Verdict.PENDING
                if _is_quorum(membership, possible)
                else Verdict.LOST
            )
            assert verdict(membership, votes) is expected, (membership, votes)


def _settled(nodes: str) -> list[Membership]:
    """All memberships outside of a joint phase."""
    return [
        Membership(voters, (), learners)
        for voters in _subsets(nodes, 1)
        for learners in _subsets("".join(sorted(set(nodes) - set(voters))))
    ]


def test_no_step_of_any_change_lets_two_quorums_miss_one_another() -> None:
    """Two leaders of one term, or a leader without a committed entry, need two quorums without a common voter."""
    for current, target in product(_settled("abcd"), repeat=2):
        step = first_step(current, target)
        end = last_step(step) if step.outgoing else step
        assert end == target
        for before, after in ((current, step), (step, end)):
            for one, other in product(_quorums(before), _quorums(after)):
                assert one & other, f"from {before} to {after}: {one} and {other} have nobody in common"


def test_without_the_joint_phase_they_would() -> None:
    old, new = Membership(_nodes("abc")), Membership(_nodes("ade"))
    assert any(not one & other for one, other in product(_quorums(old), _quorums(new)))


def test_only_voters_vote_and_everybody_receives() -> None:
    for current, target in product(_settled("abcd"), repeat=2):
        step = first_step(current, target)
        assert members(step) >= members(target) | set(current.voters)
        for node in _nodes("abcd"):
            named = node in target.voters or (bool(step.outgoing) and node in current.voters)
            assert is_voter(step, node) is named
        learning = {*step.learners, *step.next_learners} - set(step.voters) - set(step.outgoing)
        alone = dict.fromkeys(learning, 9)
        assert reached(step, alone) == 0
        assert verdict(step, dict.fromkeys(learning, True)) is Verdict.PENDING
        assert set(step.next_learners) <= set(step.outgoing), "a voter stays one until the joint phase is over"
        assert is_target(target) is True
        assert is_target(step) is not bool(step.outgoing)

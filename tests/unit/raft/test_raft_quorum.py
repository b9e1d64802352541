"""Majorities, alone and joint, as tables."""

from __future__ import annotations

import pytest

from broker.base.ids import NodeId
from broker.raft.quorum import Verdict, majority, reached, verdict
from broker.raft.types import Membership


def _membership(text: str) -> Membership:
    """``"abc"`` or, joint, ``"abc&cde"``."""
    voters, _, outgoing = text.partition("&")
    return Membership(tuple(NodeId(node) for node in voters), tuple(NodeId(node) for node in outgoing))


def _values(text: str) -> dict[NodeId, int]:
    return {NodeId(pair[0]): int(pair[2:]) for pair in text.split()}


@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_a_majority_is_more_than_half(voters: int, needed: int) -> None:
    assert majority(voters) == needed


@pytest.mark.parametrize(
    ("membership", "values", "expected"),
    [
        ("", "", 0),
        ("a", "", 0),
        ("a", "a=5", 5),
        ("ab", "a=5 b=3", 3),
        ("abc", "a=5 b=3", 3),
        ("abc", "a=5", 0),
        ("abc", "a=5 b=3 c=9", 5),
        ("abc", "a=5 b=5 c=1", 5),
        ("abcd", "a=4 b=3 c=2 d=1", 2),
        ("abcde", "a=5 b=4 c=3 d=2 e=1", 3),
        ("abc", "a=1 b=2 c=2 z=9", 2),
        # Joint: the lower of the two halves (dissertation 4.3).
        ("abc&def", "a=9 b=9 c=9", 0),
        ("abc&def", "a=9 b=9 c=9 d=4 e=3 f=1", 3),
        ("abc&bcd", "a=9 b=5 c=2 d=7", 5),
        ("abc&bcd", "a=9 b=1 c=1 d=9", 1),
        ("a&abc", "a=7 b=2 c=3", 3),
        ("a&a", "a=7", 7),
    ],
)
def test_the_largest_number_that_a_quorum_reached(membership: str, values: str, expected: int) -> None:
    assert reached(_membership(membership), _values(values)) == expected


@pytest.mark.parametrize(
    ("membership", "granted", "refused", "expected"),
    [
        ("a", "", "", Verdict.PENDING),
        ("a", "a", "", Verdict.WON),
        ("ab", "a", "", Verdict.PENDING),
        ("ab", "a", "b", Verdict.LOST),
        ("abc", "a", "b", Verdict.PENDING),
        ("abc", "ab", "c", Verdict.WON),
        ("abc", "a", "bc", Verdict.LOST),
        ("abc", "axyz", "", Verdict.PENDING),
        ("abcd", "ab", "c", Verdict.PENDING),
        ("abcd", "ab", "cd", Verdict.LOST),
        ("abcd", "abc", "d", Verdict.WON),
        ("abc&def", "abc", "", Verdict.PENDING),
        ("abc&def", "abcde", "", Verdict.WON),
        ("abc&def", "abc", "de", Verdict.LOST),
        ("abc&cde", "ac", "", Verdict.PENDING),
        ("abc&cde", "acd", "", Verdict.WON),
        ("abc&cde", "cde", "ab", Verdict.LOST),
    ],
)
def test_a_vote_is_won_in_both_halves_or_lost_in_either(
    membership: str, granted: str, refused: str, expected: Verdict
) -> None:
    votes = {NodeId(node): True for node in granted} | {NodeId(node): False for node in refused}
    assert verdict(_membership(membership), votes) is expected

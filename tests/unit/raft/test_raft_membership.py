"""Memberships as steps and as history."""

from __future__ import annotations

import pytest

from broker.base.ids import Index, NodeId
from broker.raft.membership import (
    MembershipHistory,
    decode,
    encode,
    first_step,
    is_target,
    is_voter,
    last_step,
    members,
)
from broker.raft.types import Membership


def _nodes(text: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(node) for node in text)


def _of(voters: str, outgoing: str = "", learners: str = "", following: str = "") -> Membership:
    return Membership(_nodes(voters), _nodes(outgoing), _nodes(learners), _nodes(following))


@pytest.mark.parametrize(
    ("current", "target", "joint", "final"),
    [
        (_of("abc"), _of("abd"), _of("abd", "abc"), _of("abd")),
        (_of("abc"), _of("def"), _of("def", "abc"), _of("def")),
        (_of("a"), _of("abc"), _of("abc", "a"), _of("abc")),
        (_of("abc", learners="d"), _of("abd"), _of("abd", "abc"), _of("abd")),
        # A voter that becomes a learner goes on voting in the outgoing half until the end.
        (_of("abc"), _of("ab", learners="c"), _of("ab", "abc", following="c"), _of("ab", learners="c")),
        (_of("abc"), _of("bad", learners="ce"), _of("abd", "abc", "e", "c"), _of("abd", learners="ce")),
    ],
)
def test_from_one_membership_to_another(
    current: Membership, target: Membership, joint: Membership, final: Membership
) -> None:
    target = Membership(tuple(sorted(target.voters)), (), target.learners)
    assert first_step(current, target) == joint
    assert last_step(joint) == final


def test_learners_alone_change_in_one_step() -> None:
    assert first_step(_of("abc"), _of("abc", learners="ed")) == _of("abc", learners="de")


@pytest.mark.parametrize(
    ("target", "possible"),
    [
        (_of("a"), True),
        (_of("abc", learners="d"), True),
        (_of(""), False),
        (_of("ab", "a"), False),
        (_of("aa"), False),
        (_of("ab", learners="b"), False),
        (_of("ab", following="c"), False),
    ],
)
def test_what_a_change_can_aim_at(target: Membership, possible: bool) -> None:
    assert is_target(target) is possible


def test_members_and_voters() -> None:
    joint = _of("ab", "bc", "d", "c")
    assert members(joint) == set("abcd")
    assert [node for node in "abcde" if is_voter(joint, NodeId(node))] == ["a", "b", "c"]


def test_what_is_encoded_is_decoded() -> None:
    joint = _of("ab", "bc", "d", "c")
    assert decode(encode(joint)) == joint


@pytest.mark.parametrize("data", [b"", b"\xc1", b"x", encode(_of("")), encode(_of("a"))[:-1]])
def test_damaged_data_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def test_history_rolls_back_and_forgets() -> None:
    history = MembershipHistory(Index(5), _of("abc"), ((Index(7), _of("ab", "abc")),))
    history.append(Index(9), _of("ab"))
    assert [history.at(Index(index)) for index in (4, 6, 7, 9)] == [_of("abc"), _of("abc"), _of("ab", "abc"), _of("ab")]
    history.cut_from(Index(8))
    assert (history.current, history.current_index) == (_of("ab", "abc"), 7)
    history.cut_from(Index(1))
    assert history.current == _of("abc"), "what the snapshot says cannot be rolled back"
    history.append(Index(8), _of("ab", "abc"))
    history.forget_before(Index(8))
    history.cut_from(Index(8))
    assert history.current == _of("ab", "abc")


@pytest.mark.parametrize(("committed", "may"), [(5, True), (7, True), (8, True), (9, False)])
def test_who_was_removed_may_vote_until_that_is_committed(committed: int, may: bool) -> None:
    history = MembershipHistory(Index(5), _of("abc"), ((Index(7), _of("ab", "abc")), (Index(9), _of("ab"))))
    assert history.may_vote(NodeId("c"), Index(committed)) is may
    assert history.may_vote(NodeId("a"), Index(committed))
    assert not history.may_vote(NodeId("z"), Index(committed))

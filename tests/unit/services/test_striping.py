"""Which stripe a call goes to, and what several stripes answered, as one answer."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from broker.base.ids import GroupId, NodeId, QueueId
from broker.base.instants import WallMillis
from broker.domain.directory.commands import Resource
from broker.domain.queues.model import Counts, Described, QueueAttributes
from broker.services.administering import Description
from broker.services.striping import (
    ROUND_ALL,
    Turns,
    stripe_of_message_group,
    stripe_of_session,
    stripes_to_read,
    summed,
)
from tests.unit.services.fake_groups import FakeCluster

QUEUE = QueueId(7)
FOUR = (GroupId(1), GroupId(2), GroupId(3), GroupId(4))
stripes = st.lists(st.integers(1, 100).map(GroupId), min_size=1, max_size=8, unique=True).map(tuple)
sessions = st.binary(min_size=16, max_size=16)


@given(stripes, sessions, st.integers(101, 200).map(GroupId))
def test_a_session_moves_only_to_a_new_stripe_or_from_one_that_has_gone(
    before: tuple[GroupId, ...], session: bytes, new: GroupId
) -> None:
    was = stripe_of_session(before, session)
    assert stripe_of_session((*before, new), session) in {was, new}
    for gone in before:
        after = tuple(stripe for stripe in before if stripe != gone)
        if after and gone != was:
            assert stripe_of_session(after, session) == was


def test_sessions_spread_evenly_over_the_stripes() -> None:
    chosen = Counter(stripe_of_session(FOUR, number.to_bytes(16, "big")) for number in range(4_000))
    assert set(chosen) == set(FOUR)
    assert all(900 < count < 1_100 for count in chosen.values())


def test_the_choice_is_the_same_for_ever() -> None:
    """Nodes of two versions must agree, or a batch that is sent again is stored twice."""
    assert [stripe_of_session(FOUR, bytes([number]) * 16) for number in range(8)] == [4, 2, 3, 2, 4, 3, 3, 2]
    assert stripe_of_message_group(FOUR, "straße") == FOUR[crc32("straße".encode()) % 4]


def test_what_drains_is_read_and_what_is_joining_is_not() -> None:
    resource = Resource("queue", "orders", 7, FOUR[0], "active", WallMillis(0), FOUR[:2], FOUR[2:3], FOUR[3:])
    assert stripes_to_read(resource) == (1, 2, 3)


def turns_of(cluster: FakeCluster, node: str = "a-0") -> Turns:
    return Turns(cluster.on[NodeId(node)])


def test_stripes_led_here_take_what_is_sent_in_turn() -> None:
    cluster = FakeCluster(nodes=2, groups=4)
    cluster.elect(2, "b-0")
    cluster.elect(4, "b-0")
    turns = turns_of(cluster)
    assert [turns.to_send(QUEUE, FOUR) for _ in range(4)] == [1, 3, 1, 3]


def test_without_one_led_here_those_that_somebody_leads_take_what_is_sent() -> None:
    cluster = FakeCluster(nodes=2, groups=4)
    cluster.elect(2, None)
    turns = turns_of(cluster, "b-0")
    assert [turns.to_send(QUEUE, FOUR) for _ in range(4)] == [1, 3, 4, 1]
    for group in FOUR:
        cluster.elect(group, None)
    assert {turns.to_send(QUEUE, FOUR) for _ in range(4)} == set(FOUR)


def test_every_stripe_comes_first_now_and_then() -> None:
    cluster = FakeCluster(nodes=2, groups=4)
    cluster.elect(2, "b-0")
    cluster.elect(4, "b-0")
    turns = turns_of(cluster)

    orders = [turns.to_receive(QUEUE, FOUR) for _ in range(ROUND_ALL * 4)]

    assert all(sorted(order) == list(FOUR) for order in orders)
    first = Counter(order[0] for order in orders)
    assert set(first) == set(FOUR)
    assert first[FOUR[0]] + first[FOUR[2]] > 3 * (first[FOUR[1]] + first[FOUR[3]])


def test_queues_have_their_turns_apart() -> None:
    turns = turns_of(FakeCluster(groups=4))
    for _ in range(3):
        assert turns.to_send(QueueId(1), FOUR[:2]) != turns.to_send(QueueId(1), FOUR[:2])
        turns.to_send(QueueId(2), FOUR)


def test_counts_of_stripes_add_up_and_the_directory_says_how_many_there_are() -> None:
    queue = Described(QUEUE, "orders", QueueAttributes(), WallMillis(1), WallMillis(2))
    first = Counts(1, 2, 3, WallMillis(50), 4, 5, 6, 7, 8, 9, 10, 11, 12)
    second = Counts(10, 20, 30, WallMillis(40), 40, 50, 60, 70, 80, 90, 100, 110, 120)
    third = Counts(0, 0, 0, None, 0, 0, 0, 0)
    found = [
        Description(queue, counts, group, NodeId("a-0"), WallMillis(99))
        for counts, group in zip((first, second, third), FOUR, strict=False)
    ]

    whole = summed(Resource("queue", "orders", 7, FOUR[0], "active", WallMillis(0), FOUR[:3]), found)

    assert whole.counts == Counts(11, 22, 33, WallMillis(40), 44, 55, 66, 77, 88, 99, 110, 121, 132)
    assert (whole.queue.attributes.stripes, whole.queue.groups, whole.group) == (3, (1, 2, 3), 1)

"""The courier with real machines: dead letters and move tasks between groups that several nodes lead."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import pytest

from broker.base.errors import BrokerError, DeadlineExceeded, NotLeader, Unavailable
from broker.base.ids import GroupId, QueueId
from broker.domain.queues.commands import Arrive, DeleteQueue, Retarget, Shipped, StartMove
from broker.domain.queues.model import Attribute, Described, Message, QueueAttributes, Target
from broker.domain.queues.questions import Move, MovesOf
from tests.unit.services.moving_yard import Yard, yard

ONE, TWO, THREE = GroupId(1), GroupId(2), GroupId(3)


def told(place: Yard, kind: type) -> list[tuple[GroupId, object]]:
    return [(group, command) for group, command in place.cluster.proposals if isinstance(command, kind)]


def moves(place: Yard, group: GroupId, queue: int) -> tuple[Move, ...]:
    found = place.cluster.machines[group].query("queues", MovesOf(queue), place.cluster.clock.wall())  # type: ignore[arg-type]
    assert isinstance(found, tuple)
    return found


async def test_a_dead_letter_arrives_with_its_content_and_where_it_came_from() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        message = Message(b"poison", (Attribute("kind", "String", b"express"),))
        place.send(orders, [], messages=[message])
        place.kill(orders)
        await place.carried()

        (moved,) = place.receive(dead)

        assert (moved.body, moved.attributes) == (b"poison", message.attributes)
        assert moved.origin is not None
        assert (moved.origin.queue, moved.origin.id, moved.origin.group) == ("orders", orders.id, ONE)
        assert (moved.origin.receive_count, len(moved.origin.message)) == (1, 16)
        counts = place.counts(orders)
        assert (counts.visible, counts.moving, counts.moved_total) == (0, 0, 1)


async def test_groups_that_come_after_the_start_are_carried_for_too() -> None:
    # given couriers that were started when no node held anything yet, and a group that nobody knew of
    async with yard(late=THREE) as place:
        dead = place.make("dead", TWO)
        orders = [place.make(f"orders-{group}", group, dead_letters_to=dead) for group in (ONE, THREE)]
        for queue in orders:
            place.send(queue, [b"poison"])
            place.kill(queue)
        # then what leaves these groups arrives
        await place.carried()
        assert len(place.receive(dead)) == 2


async def test_dead_letters_go_to_a_queue_of_the_same_group_in_the_same_way() -> None:
    async with yard() as place:
        dead = place.make("dead", ONE)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        place.send(orders, [b"a", b"b"])
        place.kill(orders)
        await place.carried()
        assert [message.body for message in place.receive(dead)] == [b"a", b"b"]


async def test_a_move_brings_messages_back_and_they_have_no_origin_any_more() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        place.send(orders, [b"a", b"b", b"c"])
        place.kill(orders)
        await place.carried()

        place.tell(TWO, StartMove(dead.id, None, 0))
        await place.carried()

        back = place.receive(orders)
        assert [(message.body, message.origin) for message in back] == [(b"a", None), (b"b", None), (b"c", None)]
        assert place.counts(dead).visible == 0
        assert [(move.status, move.moved) for move in moves(place, TWO, dead.id)] == [("completed", 3)]


async def test_a_move_elsewhere_tells_where_the_messages_were_moved_from() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        study = place.make("study", THREE)
        place.send(orders, [b"a"])
        place.kill(orders)
        await place.carried()
        place.tell(TWO, StartMove(dead.id, study, 0))
        await place.carried()

        (moved,) = place.receive(study)

        assert moved.origin is not None
        assert (moved.origin.queue, moved.origin.group) == ("dead", TWO)


async def test_what_was_sent_to_the_queue_itself_cannot_be_moved_back_and_the_task_says_why() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        place.send(dead, [b"direct"])
        place.tell(TWO, StartMove(dead.id, None, 0))
        await place.carried()

        (move,) = moves(place, TWO, dead.id)
        assert (move.status, move.moved) == ("failed", 0)
        assert "was sent to queue 'dead' itself" in move.failure
        assert "name a destination" in move.failure
        assert place.counts(dead).visible == 1
        assert told(place, Arrive) == []


async def test_messages_come_home_to_the_home_group_of_a_striped_standard_queue() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        orders = place.make("orders", THREE, dead_letters_to=dead, groups=(3, 1))
        place.send(orders, [b"a"], group=ONE)
        place.kill(orders, group=ONE)
        await place.carried()
        place.tell(TWO, StartMove(dead.id, None, 0))
        await place.carried()

        assert place.counts(orders, ONE).visible == 0
        assert [message.body for message in place.receive(orders, THREE)] == [b"a"]


async def test_messages_of_a_striped_fifo_queue_go_by_their_message_group_and_come_back_to_their_stripe() -> None:
    async with yard() as place:
        dead = place.make("dead.fifo", ONE, groups=(1, 2, 3))
        orders = place.make("orders.fifo", TWO, dead_letters_to=dead, groups=(2, 3))
        names = [f"customer-{number}" for number in range(12)]
        bodies = [b"%d" % number for number in range(12)]
        place.send(orders, bodies, tuple(names), group=THREE)
        place.kill(orders, THREE)
        await place.carried()

        for group in (ONE, TWO, THREE):
            found = [int(message.body) for message in place.receive(dead, group)]
            assert found == [each for each in range(12) if crc32(names[each].encode()) % 3 == group - 1]
            place.tell(group, StartMove(dead.id, None, 0))
        await place.carried()

        assert Counter(message.body for message in place.receive(orders, THREE)) == Counter(bodies)
        assert place.counts(orders, TWO).visible == 0


async def test_a_large_backlog_is_carried_in_commands_of_a_thousand_messages_and_three_mebibytes() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        for first in range(0, 3_000, 500):
            place.send(orders, [b"%04d" % number for number in range(first, first + 500)])
        for _ in range(6):
            place.receive(orders, limit=1_000)
        await place.carried()
        counted = [len(command.arrivals) for _, command in told(place, Arrive)]  # type: ignore[attr-defined]
        assert (sum(counted), max(counted)) == (3_000, 1_000)

        place.cluster.proposals.clear()
        place.send(orders, [b"x" * 200_000] * 20)
        place.kill(orders)
        await place.carried()
        sizes = [
            sum(arrival.size for arrival in command.arrivals)  # type: ignore[attr-defined]
            for _, command in told(place, Arrive)
        ]
        assert sum(sizes) == 4_000_000
        assert max(sizes) <= 3 * 1024 * 1024


@pytest.mark.parametrize("error", [Unavailable("gone"), DeadlineExceeded("late"), NotLeader("not here")])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_proposals_that_fail_before_or_after_they_took_effect_change_nothing(
    moment: str, error: BrokerError
) -> None:
    for failures in range(1, 6):
        async with yard() as place:
            dead = place.make("dead", TWO)
            orders = place.make("orders", ONE, dead_letters_to=dead)
            bodies = [b"%d" % number for number in range(20)]
            place.send(orders, bodies)
            (place.cluster.before if moment == "before" else place.cluster.after).extend([error] * failures)
            place.kill(orders)
            await place.carried()

            assert [message.body for message in place.receive(dead)] == bodies


async def test_leaders_of_source_and_target_change_at_every_step_and_nothing_is_lost_or_doubled() -> None:
    """After so many proposals the leadership of both groups moves on, again and again."""
    for every in range(1, 6):
        async with yard() as place:
            dead = place.make("dead", TWO)
            orders = place.make("orders", ONE, dead_letters_to=dead)
            bodies = [b"%d" % number for number in range(40)]
            place.send(orders, bodies)
            place.kill(orders)
            names = [node.id for node in place.cluster.nodes]
            for turn in range(9):
                goal = len(place.cluster.proposals) + every
                await place.until(lambda goal=goal: len(place.cluster.proposals) >= goal or not place.leaving(1))
                place.cluster.elect(1, names[(turn + 1) % 3])
                place.cluster.elect(2, names[(turn * 2 + 1) % 3])
                if turn % 3 == 0:
                    place.kill(orders)
            await place.carried()

            assert [message.body for message in place.receive(dead)] == bodies
            assert place.counts(orders).moving == 0


async def test_a_target_without_a_leader_holds_up_no_other() -> None:
    async with yard() as place:
        dead, other = place.make("dead", TWO), place.make("other", THREE)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        bills = place.make("bills", ONE, dead_letters_to=other)
        place.cluster.elect(2, None)
        place.send(orders, [b"a"])
        place.send(bills, [b"b"])
        place.kill(orders)
        place.kill(bills)
        await place.until(lambda: place.counts(other).visible == 1 and place.leaving(1) == 1)

        place.cluster.elect(2, "c-0")
        await place.carried()

        assert [message.body for message in place.receive(dead)] == [b"a"]


async def test_a_dead_letter_queue_made_anew_is_found_by_the_next_attempt() -> None:
    async with yard() as place:
        dead = place.list_in_directory("dead")
        orders = place.make("orders", ONE, dead_letters_to=Target("dead", QueueId(77), (GroupId(2),)))
        place.send(orders, [b"a"])
        place.kill(orders)
        await place.until(lambda: bool(told(place, Retarget)))
        described = place.described(orders)
        assert isinstance(described, Described)
        assert (described.target, described.redrive_suspended_until) == (dead, None)

        place.kill(orders)
        await place.carried()

        assert [message.body for message in place.receive(dead)] == [b"a"]


async def test_dead_letters_for_a_deleted_queue_come_back_and_stay_for_a_while() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO)
        orders = place.make("orders", ONE, dead_letters_to=dead)
        place.tell(TWO, DeleteQueue(dead.id))
        place.send(orders, [b"a"])
        place.kill(orders)
        await place.carried()

        counts = place.counts(orders)
        described = place.described(orders)
        assert isinstance(described, Described)
        assert (counts.visible, counts.moving) == (1, 0)
        assert described.redrive_suspended_until == place.cluster.clock.wall() + 60_000
        assert [message.body for message in place.receive(orders)] == [b"a"]


async def test_a_message_too_long_for_the_dead_letter_queue_comes_back() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO, attributes=QueueAttributes(message_size_limit=1_024))
        orders = place.make("orders", ONE, dead_letters_to=dead)
        place.send(orders, [b"a" * 1_025, b"b" * 1_024])
        place.kill(orders)
        await place.carried()

        assert [message.body[:1] for message in place.receive(dead)] == [b"b"]
        assert place.counts(orders).visible == 1
        (_, shipped), *_ = told(place, Shipped)
        assert isinstance(shipped, Shipped)
        assert [(number, refusal.code) for number, refusal in shipped.returned] == [(1, "MessageTooLong")]


async def test_an_idle_courier_asks_nobody_anything() -> None:
    async with yard() as place:
        await place.until(lambda: place.cluster.waiting == 3)
        proposals, calls = len(place.cluster.proposals), len(place.cluster.calls)
        for _ in range(60):
            place.cluster.clock.advance(1_000)
            await place.until(lambda: place.cluster.waiting == 3)
        assert (len(place.cluster.proposals), len(place.cluster.calls)) == (proposals, calls)


async def test_what_was_carried_and_refused_is_counted_and_the_oldest_on_its_way_is_told() -> None:
    async with yard() as place:
        dead = place.make("dead", TWO, attributes=QueueAttributes(message_size_limit=1_024))
        orders = place.make("orders", ONE, dead_letters_to=dead)
        place.send(orders, [b"a" * 1_025, b"b", b"c"])
        place.cluster.elect(2, None)
        place.kill(orders)
        await place.cluster.polls(2)
        place.cluster.clock.advance(2_500)
        assert 'broker_outbox_oldest_age_seconds{group="1"} 2.5' in await place.metrics("a-0")

        place.cluster.elect(2, "b-0")
        await place.carried()
        text = await place.metrics("a-0")
        assert 'broker_courier_carried_total{group="1"} 2' in text
        assert 'broker_courier_refused_total{group="1"} 1' in text
        assert 'broker_outbox_oldest_age_seconds{group="1"} 0' in text
        assert 'broker_outbox_oldest_age_seconds{group="3"} 0' in await place.metrics("c-0")
        assert 'broker_outbox_oldest_age_seconds{group="1"}' not in await place.metrics("c-0")

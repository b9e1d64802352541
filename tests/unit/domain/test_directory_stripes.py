"""A resource spread over several groups: how it is placed, how it grows and shrinks, and what is remembered of it."""

from __future__ import annotations

import msgspec
import pytest

from broker.base.ids import GroupId, NodeId
from broker.base.instants import WallMillis
from broker.domain.directory import commands
from broker.domain.directory.commands import Done, Former, Group, Placed, Resource
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.directory.stripes import FORMER_LIFETIME, MAX_FORMER
from tests.unit.domain.test_directory_machine import NODES, DirectoryLog

GROUPS = tuple(Group(GroupId(number), (NodeId("a-0"),), NodeId("a-0")) for number in range(5))


def directory() -> DirectoryLog:
    """With four data groups."""
    log = DirectoryLog(bootstrapped=False)
    log.apply(commands.Bootstrap(NODES, GROUPS))
    return log


def placed(log: DirectoryLog, name: str, stripes: int = 1, beside: str = "") -> Resource:
    reply = log.apply(commands.PlaceResource("queue", name, stripes, beside))
    assert isinstance(reply, Placed), reply
    assert log.apply(commands.ActivateResource("queue", reply.resource.id)) == Done()
    return reply.resource


def now(log: DirectoryLog, resource: Resource) -> Resource:
    found = log.ask(commands.ResourceById(resource.kind, resource.id))
    assert isinstance(found, Resource)
    return found


def refusal(reply: object) -> str:
    assert isinstance(reply, commands.Refused), reply
    return f"{reply.refusal.code}: {reply.refusal.message}"


def test_stripes_go_where_the_fewest_resources_are_and_each_counts() -> None:
    log = directory()
    assert placed(log, "one").groups == (1,)
    assert placed(log, "three", 3).stripes == (2, 3, 4)
    assert placed(log, "two", 2).stripes == (1, 2)
    assert placed(log, "next").groups == (3,)


def test_more_stripes_than_groups_are_refused_with_both_numbers() -> None:
    log = directory()
    reply = log.apply(commands.PlaceResource("queue", "wide", 5))
    assert refusal(reply) == (
        "InvalidArgument: queue wide cannot have 5 stripes, the cluster has 4 data groups: use 1 to 4"
    )
    resource = placed(log, "orders")
    assert "5 stripes" in refusal(log.apply(commands.SpreadResource("queue", resource.id, 5)))


def test_beside_another_means_its_home_group_whatever_lives_there() -> None:
    log = directory()
    first = placed(log, "orders")
    assert placed(log, "archive", beside="orders").group == first.group
    wide = placed(log, "wide", 2, beside="orders")
    assert (wide.group, len(wide.stripes)) == (first.group, 2)


def test_beside_what_does_not_exist_is_refused() -> None:
    log = directory()
    assert refusal(log.apply(commands.PlaceResource("queue", "archive", 1, "orders"))) == (
        "QueueNotFound: queue 'orders', beside which to place another one, does not exist: create it first"
    )


def test_growing_takes_two_steps_so_that_nothing_is_sent_where_the_queue_is_not_yet() -> None:
    log = directory()
    resource = placed(log, "orders")

    planned = log.apply(commands.SpreadResource("queue", resource.id, 3)).resource
    assert (planned.groups, planned.joining) == ((1,), (2, 3))
    assert log.ask(commands.Unsettled()) == (planned,)

    log.at += 5
    assert log.apply(commands.RestripeResource("queue", resource.id, joined=(GroupId(2), GroupId(3)))) == Done()
    grown = now(log, resource)
    assert (grown.groups, grown.joining) == ((1, 2, 3), ())
    assert (grown.layout, grown.former) == (1, (Former((GroupId(1),), WallMillis(log.at), 0),))
    assert log.ask(commands.Unsettled()) == ()
    assert log.ask(commands.Restriped()) == (grown,)
    assert log.ask(commands.Restriped(grown.version)) == ()


def test_planning_again_goes_on_where_it_was_interrupted() -> None:
    log = directory()
    resource = placed(log, "orders")
    first = log.apply(commands.SpreadResource("queue", resource.id, 3))
    assert log.apply(commands.SpreadResource("queue", resource.id, 3)) == first


def test_shrinking_drains_the_latest_stripes_and_never_the_home() -> None:
    log = directory()
    resource = placed(log, "orders", 4)
    shrunk = log.apply(commands.SpreadResource("queue", resource.id, 1)).resource
    assert (shrunk.stripes, shrunk.draining, shrunk.everywhere) == ((), (2, 3, 4), (1, 2, 3, 4))

    log.apply(commands.RestripeResource("queue", resource.id, dropped=(GroupId(3),)))
    assert now(log, resource).draining == (2, 4)


def test_a_group_that_drains_is_not_taken_again_before_it_is_dropped() -> None:
    log = directory()
    resource = placed(log, "orders", 4)
    log.apply(commands.SpreadResource("queue", resource.id, 2))

    reply = log.apply(commands.SpreadResource("queue", resource.id, 3))

    assert refusal(reply) == (
        "Unavailable: queue orders cannot have 3 stripes now: 2 of the 4 data groups may still hold something of its "
        "former stripes; retry when they are empty"
    )
    log.apply(commands.RestripeResource("queue", resource.id, dropped=(GroupId(4),)))
    assert log.apply(commands.SpreadResource("queue", resource.id, 3)).resource.joining == (4,)


def test_whoever_comes_too_late_with_a_group_is_told_so_and_nothing_changes() -> None:
    log = directory()
    resource = placed(log, "orders")
    log.apply(commands.SpreadResource("queue", resource.id, 3))
    log.apply(commands.RestripeResource("queue", resource.id, abandoned=(GroupId(3),)))
    before = now(log, resource)

    late = log.apply(commands.RestripeResource("queue", resource.id, joined=(GroupId(2), GroupId(3))))

    assert refusal(late).startswith("Unavailable: the stripes of queue orders were changed by another call meanwhile")
    assert now(log, resource) == before


def test_former_stripes_are_forgotten_with_the_sessions_that_used_them() -> None:
    log = directory()
    resource = placed(log, "orders", 3)
    log.apply(commands.SpreadResource("queue", resource.id, 2))
    log.at += FORMER_LIFETIME - 1
    twice = log.apply(commands.SpreadResource("queue", resource.id, 1)).resource
    assert [each.stripes for each in twice.former] == [(1, 2, 3), (1, 2)]

    log.at += 1
    log.apply(commands.RestripeResource("queue", resource.id, dropped=(GroupId(2), GroupId(3))))
    assert [each.stripes for each in now(log, resource).former] == [(1, 2)]


def test_stripes_may_change_only_so_often() -> None:
    log = directory()
    resource = placed(log, "orders")
    for _ in range(MAX_FORMER // 2):
        joining = log.apply(commands.SpreadResource("queue", resource.id, 2)).resource.joining
        log.apply(commands.RestripeResource("queue", resource.id, joined=joining))
        log.apply(commands.SpreadResource("queue", resource.id, 1))
        log.apply(commands.RestripeResource("queue", resource.id, dropped=joining))

    assert "have changed 16 times in 15 minutes" in refusal(log.apply(commands.SpreadResource("queue", resource.id, 2)))
    log.at += FORMER_LIFETIME
    assert log.apply(commands.SpreadResource("queue", resource.id, 2)).resource.joining


def test_a_telling_is_unsettled_until_it_ends() -> None:
    log = directory()
    resource = placed(log, "orders", 2)
    first = log.apply(commands.BeginTelling("queue", resource.id)).resource.tellings[-1]
    second = log.apply(commands.BeginTelling("queue", resource.id)).resource.tellings[-1]
    assert first != second

    log.apply(commands.EndTelling("queue", resource.id, second))
    assert [each.tellings for each in log.ask(commands.Unsettled())] == [(first,)]
    log.apply(commands.EndTelling("queue", resource.id, first))
    assert log.ask(commands.Unsettled()) == ()


@pytest.mark.parametrize(
    "command",
    [commands.SpreadResource("queue", 1, 2), commands.RestripeResource("queue", 1), commands.BeginTelling("queue", 1)],
)
def test_only_an_active_resource_changes_its_stripes(command: commands.Command) -> None:
    log = directory()
    assert "never placed" in refusal(log.apply(command))
    log.apply(commands.PlaceResource("queue", "orders"))
    assert "it is creating" in refusal(log.apply(command))
    log.apply(commands.RetireResource("queue", 1))
    assert "it is deleting" in refusal(log.apply(command))


def test_what_is_deleted_is_still_told_with_all_its_groups() -> None:
    log = directory()
    resource = placed(log, "orders", 2)
    log.apply(commands.SpreadResource("queue", resource.id, 1))
    log.apply(commands.RetireResource("queue", resource.id))
    assert now(log, resource).everywhere == (1, 2)
    log.apply(commands.ForgetResource("queue", resource.id))
    assert log.ask(commands.ResourceById("queue", resource.id)) is None


def test_a_dump_of_the_version_without_stripes_loads() -> None:
    nodes = [["a-0", "a", "a:1", "a:2", ""]]
    groups = [[0, ["a-0"], "a-0"], [1, ["a-0"], "a-0"]]
    head = [1, 8, nodes, groups, 1]
    resources = [["queue", "orders", 7, 1, "active", 1000]]
    machine = DirectoryMachine()

    machine.load([msgspec.msgpack.encode(head), msgspec.msgpack.encode(resources)])

    found = machine.query(commands.FindResource("queue", "orders"), WallMillis(2000))
    assert found == Resource("queue", "orders", 7, GroupId(1), "active", WallMillis(1000))
    assert found.everywhere == (1,)

"""The directory's rules: nodes keep their zone, names are placed once, resources go from creating to gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broker.base.ids import GroupId, Index, NodeId, Zone
from broker.base.instants import WallMillis
from broker.domain.directory import commands
from broker.domain.directory.commands import Done, FindResource, Group, ListResources, Node, Placed, Resource
from broker.domain.directory.machine import DirectoryMachine
from broker.machine.contract import Place


def node(name: str, port: int = 1) -> Node:
    return Node(NodeId(name), Zone(name[0]), f"{name}:{port}", f"{name}:{port + 1}")


NODES = (node("b-0"), node("a-0"), node("c-0"))
MEMBERS = tuple(sorted(each.id for each in NODES))
GROUPS = tuple(Group(GroupId(number), MEMBERS, MEMBERS[0]) for number in (2, 0, 1))


class DirectoryLog:
    def __init__(self, bootstrapped: bool = True) -> None:
        self.machine = DirectoryMachine()
        self.index = 0
        self.at = 1000
        if bootstrapped:
            self.apply(commands.Bootstrap(NODES, GROUPS))

    def apply(self, command: Any) -> Any:
        self.index += 1
        place = Place(Index(self.index), WallMillis(self.at))
        applied = self.machine.apply(msgspec.msgpack.encode(command), place)
        assert applied.effects == ()
        return applied.reply

    def ask(self, question: Any) -> Any:
        return self.machine.query(question, WallMillis(self.at))

    def place(self, name: str, kind: str = "queue") -> Resource:
        reply = self.apply(commands.PlaceResource(kind, name))
        assert isinstance(reply, Placed)
        return reply.resource

    def active(self, name: str, kind: str = "queue") -> Resource:
        resource = self.place(name, kind)
        assert self.apply(commands.ActivateResource(kind, resource.id)) == Done()
        return resource

    def names(self, **question: Any) -> tuple[list[str], bool]:
        page = self.ask(ListResources("queue", **question))
        return [each.name for each in page.resources], page.more


def refusal_of(reply: Any) -> str:
    assert isinstance(reply, commands.Refused)
    return reply.refusal.code


def test_the_topology_is_sorted_and_only_the_first_bootstrap_counts() -> None:
    log = DirectoryLog()
    log.apply(commands.Bootstrap((node("z-0"),), ()))
    topology = log.ask(commands.Topology())
    assert [each.id for each in topology.nodes] == ["a-0", "b-0", "c-0"]
    assert [each.id for each in topology.groups] == [0, 1, 2]


def test_a_node_may_change_its_addresses_but_not_its_zone() -> None:
    log = DirectoryLog()
    assert log.apply(commands.RegisterNode(node("a-0", 9))) == Done()
    assert refusal_of(log.apply(commands.RegisterNode(node("d-0")))) == "NodeNotFound"
    assert log.apply(commands.AddNode(node("d-0"))) == Done()
    assert [each.peer_address for each in log.ask(commands.Topology()).nodes] == ["a-0:9", "b-0:1", "c-0:1", "d-0:1"]
    moved = Node(NodeId("a-0"), Zone("b"), "x:1", "x:2")
    assert refusal_of(log.apply(commands.RegisterNode(moved))) == "InvalidArgument"
    assert log.ask(commands.Topology()).nodes[0].zone == "a"


def test_a_name_is_placed_once_in_the_group_with_the_fewest() -> None:
    log = DirectoryLog()
    placed = log.apply(commands.PlaceResource("queue", "orders"))
    assert placed == Placed(Resource("queue", "orders", 1, GroupId(1), "creating", WallMillis(1000)), True)
    assert log.apply(commands.PlaceResource("queue", "orders")) == Placed(placed.resource, False)
    assert [log.place(name).group for name in ("b", "c", "d")] == [2, 1, 2]
    log.apply(commands.RetireResource("queue", 1))
    log.apply(commands.ForgetResource("queue", 1))
    assert log.place("e").group == 1


def test_kinds_have_names_of_their_own() -> None:
    log = DirectoryLog()
    assert log.place("orders", "queue").id != log.place("orders", "topic").id
    assert log.ask(FindResource("topic", "orders")).kind == "topic"


def test_without_data_groups_nothing_can_be_placed() -> None:
    log = DirectoryLog(bootstrapped=False)
    log.apply(commands.Bootstrap(NODES, GROUPS[1:2]))
    assert refusal_of(log.apply(commands.PlaceResource("queue", "orders"))) == "Unavailable"


def test_the_life_of_a_resource() -> None:
    log = DirectoryLog()
    resource = log.place("orders")
    assert log.ask(FindResource("queue", "orders")).state == "creating"
    assert log.names() == ([], False)
    log.at = 2000
    log.apply(commands.ActivateResource("queue", resource.id))
    assert log.ask(FindResource("queue", "orders")) == msgspec.structs.replace(
        resource, state="active", since=WallMillis(2000)
    )
    assert log.names() == (["orders"], False)
    log.at = 3000
    log.apply(commands.RetireResource("queue", resource.id))
    assert log.ask(FindResource("queue", "orders")) is None
    assert log.names() == ([], False)
    assert refusal_of(log.apply(commands.PlaceResource("queue", "orders"))) == "Unavailable"
    log.apply(commands.ForgetResource("queue", resource.id))
    again = log.place("orders")
    assert (again.id, again.state) == (resource.id + 1, "creating")


def test_repeating_a_step_changes_nothing() -> None:
    log = DirectoryLog()
    resource = log.active("orders")
    before = list(log.machine.dump())
    log.at = 9000
    assert log.apply(commands.ActivateResource("queue", resource.id)) == Done()
    assert list(log.machine.dump()) == before
    log.apply(commands.RetireResource("queue", resource.id))
    assert log.apply(commands.RetireResource("queue", resource.id)) == Done()
    log.apply(commands.ForgetResource("queue", resource.id))
    assert log.apply(commands.ForgetResource("queue", resource.id)) == Done()


def test_steps_out_of_order_are_refused() -> None:
    log = DirectoryLog()
    resource = log.place("orders")
    assert refusal_of(log.apply(commands.ForgetResource("queue", resource.id))) == "InvalidArgument"
    log.apply(commands.RetireResource("queue", resource.id))
    assert refusal_of(log.apply(commands.ActivateResource("queue", resource.id))) == "QueueNotFound"
    assert refusal_of(log.apply(commands.ActivateResource("queue", 99))) == "QueueNotFound"
    assert refusal_of(log.apply(commands.RetireResource("queue", 99))) == "QueueNotFound"
    assert refusal_of(log.apply(commands.RetireResource("topic", 99))) == "InvalidArgument"


def test_pages_by_name() -> None:
    log = DirectoryLog()
    for name in ("b", "ab", "a", "abc", "ac"):
        log.active(name)
    assert log.names() == (["a", "ab", "abc", "ac", "b"], False)
    assert log.names(limit=2) == (["a", "ab"], True)
    assert log.names(after="ab", limit=2) == (["abc", "ac"], True)
    assert log.names(after="ac", limit=2) == (["b"], False)
    assert log.names(prefix="ab") == (["ab", "abc"], False)
    assert log.names(prefix="ab", limit=1) == (["ab"], True)
    assert log.names(prefix="ab", after="ab") == (["abc"], False)
    assert log.names(prefix="ab", after="b") == ([], False)
    assert log.names(prefix="x") == ([], False)


def test_what_is_unfinished_since_before_an_instant() -> None:
    log = DirectoryLog()
    stuck = log.place("stuck")
    retired = log.active("retired")
    log.active("fine")
    log.at = 2000
    log.apply(commands.RetireResource("queue", retired.id))
    assert [each.id for each in log.ask(commands.Unfinished(WallMillis(1000)))] == []
    assert [each.id for each in log.ask(commands.Unfinished(WallMillis(1001)))] == [stuck.id]
    assert [each.id for each in log.ask(commands.Unfinished(WallMillis(2001)))] == [stuck.id, retired.id]


def test_a_loaded_directory_goes_on_where_the_dump_was_made() -> None:
    log = DirectoryLog()
    for number in range(1200):
        log.active(f"queue-{number}")
    log.place("stuck")
    pieces = list(log.machine.dump())
    assert max(map(len, pieces)) < 64 * 1024
    other = DirectoryLog(bootstrapped=False)
    other.machine.load(pieces)
    assert list(other.machine.dump()) == pieces
    assert other.names(prefix="queue-11", limit=500) == log.names(prefix="queue-11", limit=500)
    assert other.place("next") == log.place("next")
    assert list(log.machine.live_entries()) == []
    assert log.machine.next_deadline() is None


@pytest.mark.parametrize(
    "damage",
    [lambda pieces: pieces[:-1], lambda pieces: pieces[1:], lambda pieces: [], lambda pieces: [pieces[0], b"\xc1"]],
    ids=["truncated", "no head", "nothing", "no resources"],
)
def test_a_damaged_dump_is_not_loaded(damage: Any) -> None:
    log = DirectoryLog()
    log.place("orders")
    with pytest.raises(ValueError, match="directory"):
        DirectoryMachine().load(damage(list(log.machine.dump())))


def test_a_command_of_a_newer_version_stops_the_replica() -> None:
    class Unheard(msgspec.Struct, frozen=True, array_like=True, tag=99):
        pass

    with pytest.raises(msgspec.ValidationError):
        DirectoryLog().apply(Unheard())

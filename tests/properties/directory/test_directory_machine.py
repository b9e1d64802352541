"""The directory against a plain list of resources: every command in any order, dumps and loads at any moment."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.base.ids import GroupId, Index, NodeId, Zone
from broker.base.instants import WallMillis
from broker.domain.directory import commands
from broker.domain.directory.commands import Group, Node, Resource
from broker.domain.directory.machine import DirectoryMachine
from broker.machine.contract import Place

KINDS = ("queue", "topic")
NAMES = ("a", "ab", "abc", "b", "ba")
GROUPS = tuple(Group(GroupId(number), (NodeId("a-0"),), NodeId("a-0")) for number in range(4))
kinds, names, identities = st.sampled_from(KINDS), st.sampled_from(NAMES), st.integers(1, 12)


class DirectoryAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine, self.replica = DirectoryMachine(), DirectoryMachine()
        self.resources: list[Resource] = []
        self.next_id = 1
        self.at = 0
        self.index = 0
        self._apply(commands.Bootstrap((Node(NodeId("a-0"), Zone("a"), "", ""),), GROUPS))

    @rule(kind=kinds, name=names)
    def place(self, kind: str, name: str) -> None:
        reply = self._apply(commands.PlaceResource(kind, name))
        known = [each for each in self.resources if (each.kind, each.name) == (kind, name)]
        if not known:
            held = {group: sum(each.group == group for each in self.resources) for group in (1, 2, 3)}
            group = GroupId(min(held, key=lambda each: (held[each], each)))
            expected = Resource(kind, name, self.next_id, group, "creating", WallMillis(self.at))
            self.next_id += 1
            self.resources.append(expected)
            assert reply == commands.Placed(expected, True)
        elif known[0].state == "deleting":
            assert reply.refusal.code == "Unavailable"
        else:
            assert reply == commands.Placed(known[0], False)

    @rule(kind=kinds, identity=identities)
    def activate(self, kind: str, identity: int) -> None:
        self._to_state(commands.ActivateResource(kind, identity), "active", {"creating", "active"})

    @rule(kind=kinds, identity=identities)
    def retire(self, kind: str, identity: int) -> None:
        self._to_state(commands.RetireResource(kind, identity), "deleting", {"creating", "active", "deleting"})

    @rule(kind=kinds, identity=identities)
    def forget(self, kind: str, identity: int) -> None:
        reply = self._apply(commands.ForgetResource(kind, identity))
        known = self._known(kind, identity)
        if known is None or known.state == "deleting":
            assert reply == commands.Done()
            self.resources = [each for each in self.resources if each is not known]
        else:
            assert reply.refusal.code == "InvalidArgument"

    @rule(step=st.integers(1, 100))
    def let_time_pass(self, step: int) -> None:
        self.at += step

    @rule()
    def restart_replica(self) -> None:
        pieces = list(self.replica.dump())
        self.replica = DirectoryMachine()
        self.replica.load(pieces)

    @rule(
        kind=kinds,
        prefix=st.sampled_from(["", "a", "ab", "c"]),
        after=st.sampled_from(["", *NAMES]),
        limit=st.integers(1, 4),
    )
    def page(self, kind: str, prefix: str, after: str, limit: int) -> None:
        page = self._ask(commands.ListResources(kind, prefix, after, limit))
        found = sorted(
            (each for each in self.resources if each.kind == kind and each.state == "active"),
            key=lambda each: each.name,
        )
        found = [each for each in found if each.name.startswith(prefix) and each.name > after]
        assert page == commands.ResourcePage(tuple(found[:limit]), len(found) > limit)

    @rule(kind=kinds, name=names)
    def find(self, kind: str, name: str) -> None:
        found = [each for each in self.resources if (each.kind, each.name) == (kind, name) and each.state != "deleting"]
        assert self._ask(commands.FindResource(kind, name)) == (found[0] if found else None)

    @rule(ago=st.integers(0, 100))
    def unfinished(self, ago: int) -> None:
        before = self.at - ago
        expected = [each for each in self.resources if each.state != "active" and each.since < before]
        found = self._ask(commands.Unfinished(WallMillis(before)))
        assert sorted(each.id for each in found) == sorted(each.id for each in expected)
        assert [each.since for each in found] == sorted(each.since for each in found)

    @invariant()
    def replicas_are_equal(self) -> None:
        assert list(self.machine.dump()) == list(self.replica.dump())

    # --- inside

    def _apply(self, command: commands.Command) -> Any:
        self.index += 1
        place = Place(Index(self.index), WallMillis(self.at))
        reply = self.machine.apply(msgspec.msgpack.encode(command), place).reply
        assert self.replica.apply(msgspec.msgpack.encode(command), place).reply == reply
        return reply

    def _ask(self, question: commands.Question) -> Any:
        answer = self.machine.query(question, WallMillis(self.at))
        assert self.replica.query(question, WallMillis(self.at)) == answer
        return answer

    def _known(self, kind: str, identity: int) -> Resource | None:
        return next((each for each in self.resources if (each.kind, each.id) == (kind, identity)), None)

    def _to_state(self, command: Any, state: str, allowed: set[str]) -> None:
        reply = self._apply(command)
        known = self._known(command.kind, command.id)
        if known is None or known.state not in allowed:
            assert reply.refusal.code == ("QueueNotFound" if command.kind == "queue" else "InvalidArgument")
        else:
            assert reply == commands.Done()
            if known.state != state:
                position = self.resources.index(known)
                self.resources[position] = msgspec.structs.replace(known, state=state, since=WallMillis(self.at))


DirectoryAgainstList.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestDirectory = DirectoryAgainstList.TestCase

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
from broker.domain.directory.commands import Former, Group, Node, Resource
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.directory.stripes import FORMER_LIFETIME, MAX_FORMER
from broker.machine.contract import Place

KINDS = ("queue", "topic")
NAMES = ("a", "ab", "abc", "b", "ba")
DATA_GROUPS = (1, 2, 3, 4)
GROUPS = tuple(Group(GroupId(number), (NodeId("a-0"),), NodeId("a-0")) for number in (0, *DATA_GROUPS))
kinds, names, identities = st.sampled_from(KINDS), st.sampled_from(NAMES), st.integers(1, 12)
whiches = st.integers(0, 3)
some_groups = st.lists(st.sampled_from(DATA_GROUPS), unique=True, max_size=3)


class DirectoryAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine, self.replica = DirectoryMachine(), DirectoryMachine()
        self.resources: list[Resource] = []
        self.next_id = 1
        self.changes = 0
        self.at = 0
        self.index = 0
        self._apply(commands.Bootstrap((Node(NodeId("a-0"), Zone("a"), "", ""),), GROUPS))

    @rule(kind=kinds, name=names, stripes=st.sampled_from([1, 1, 2, 4, 5]), beside=st.sampled_from(["", "", *NAMES]))
    def place(self, kind: str, name: str, stripes: int, beside: str) -> None:
        reply = self._apply(commands.PlaceResource(kind, name, stripes, beside))
        known = self._named(kind, name)
        near = self._named(kind, beside)
        if not known and stripes > len(DATA_GROUPS):
            assert reply.refusal.code == "InvalidArgument"
        elif not known and beside and (not near or near[0].state == "deleting"):
            assert reply.refusal.code == ("QueueNotFound" if kind == "queue" else "InvalidArgument")
        elif not known:
            chosen = self._by_load()
            if near:
                chosen.sort(key=lambda group: group != near[0].group)
            over = tuple(chosen[:stripes]) if stripes > 1 else ()
            expected = Resource(kind, name, self.next_id, chosen[0], "creating", WallMillis(self.at), over)
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

    @rule(kind=kinds, identity=identities)
    def what_is_not_active_keeps_its_stripes(self, kind: str, identity: int) -> None:
        known = self._known(kind, identity)
        if known is None or known.state != "active":
            for command in (
                commands.SpreadResource(kind, identity, 2),
                commands.RestripeResource(kind, identity),
                commands.BeginTelling(kind, identity),
            ):
                reply = self._apply(command)
                assert reply.refusal.code == ("QueueNotFound" if kind == "queue" else "InvalidArgument")
            assert self._apply(commands.EndTelling(kind, identity, 1)) == commands.Done()

    @rule(which=whiches, stripes=st.integers(0, 5))
    def spread(self, which: int, stripes: int) -> None:
        before = self._some_active(which)
        reply = self._apply(commands.SpreadResource(before.kind, before.id, stripes))
        if not 1 <= stripes <= len(DATA_GROUPS):
            assert reply.refusal.code == "InvalidArgument"
            return
        line = before.groups + before.joining
        free = [group for group in self._by_load() if group not in before.everywhere]
        missing = max(0, stripes - len(line))
        kept = before.groups[:stripes]
        joining = before.joining[: stripes - len(kept)] + tuple(free[:missing])
        too_often = len(self._lately(before)) >= MAX_FORMER and (missing or line[stripes:])
        if missing > len(free) or too_often:
            assert reply.refusal.code == "Unavailable"
            return
        self._now_is(before, kept, before.draining + line[stripes:], joining)
        assert reply == commands.Placed(self._some_active(which), False)

    @rule(which=whiches, joined=some_groups, abandoned=some_groups, dropped=some_groups)
    def restripe(self, which: int, joined: Any, abandoned: Any, dropped: Any) -> None:
        before = self._some_active(which)
        reply = self._apply(commands.RestripeResource(before.kind, before.id, joined, abandoned, dropped))
        wrong = [group for group in joined + abandoned if group not in before.joining]
        wrong += [group for group in dropped if group in before.groups + before.joining]
        wrong += [group for group in joined if group in abandoned]
        if wrong:
            assert reply.refusal.code == "Unavailable"
        else:
            assert reply == commands.Done()
            self._restriped(before, joined, abandoned, dropped)

    @rule(which=whiches, joins=st.integers(0, 3), drops=st.integers(0, 3))
    def restripe_what_is_there(self, which: int, joins: int, drops: int) -> None:
        before = self._some_active(which)
        joined, abandoned = before.joining[:joins], before.joining[joins:]
        dropped = before.draining[:drops]
        command = commands.RestripeResource(before.kind, before.id, joined, abandoned, dropped)
        assert self._apply(command) == commands.Done()
        self._restriped(before, joined, abandoned, dropped)

    @rule(which=whiches, ends=st.booleans())
    def tell(self, which: int, ends: bool) -> None:
        before = self._some_active(which)
        self.changes += 1
        tellings = (*before.tellings, self.changes)
        changed = msgspec.structs.replace(before, tellings=tellings, changed=WallMillis(self.at))
        self._put(changed)
        assert self._apply(commands.BeginTelling(before.kind, before.id)) == commands.Placed(changed, False)
        if ends:
            for telling in (tellings[0], tellings[0]):
                assert self._apply(commands.EndTelling(before.kind, before.id, telling)) == commands.Done()
            self._put(msgspec.structs.replace(changed, tellings=tellings[1:]))

    @rule(step=st.sampled_from([1, 10, 100, FORMER_LIFETIME // 2]))
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

    @rule(after=st.integers(0, 30), limit=st.integers(1, 3))
    def restriped(self, after: int, limit: int) -> None:
        found = self._ask(commands.Restriped(after, limit))
        expected = [each for each in self.resources if each.state == "active" and each.version > after]
        assert list(found) == sorted(expected, key=lambda each: each.version)[:limit]

    @invariant()
    def what_is_unsettled_is_told(self) -> None:
        expected = [
            each
            for each in self.resources
            if each.state == "active" and (each.joining or each.draining or each.tellings)
        ]
        found = self._ask(commands.Unsettled())
        assert list(found) == sorted(expected, key=lambda each: (each.kind, each.id))
        for each in self.resources:
            assert self._ask(commands.ResourceById(each.kind, each.id)) == each
            assert each.groups[0] == each.group
            assert len(set(each.everywhere)) == len(each.everywhere)

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

    def _named(self, kind: str, name: str) -> list[Resource]:
        return [each for each in self.resources if (each.kind, each.name) == (kind, name)]

    def _by_load(self) -> list[GroupId]:
        held = {group: sum(group in each.everywhere for each in self.resources) for group in DATA_GROUPS}
        return [GroupId(group) for group in sorted(held, key=lambda group: (held[group], group))]

    def _lately(self, resource: Resource) -> tuple[Former, ...]:
        return tuple(each for each in resource.former if each.until > self.at - FORMER_LIFETIME)

    def _some_active(self, which: int) -> Resource:
        active = [each for each in self.resources if each.state == "active"]
        if not active:
            self.at += 1
            name = f"another-{self.at}"
            self._apply(commands.PlaceResource("queue", name))
            placed = self._ask(commands.FindResource("queue", name))
            self._apply(commands.ActivateResource("queue", placed.id))
            active = [self._ask(commands.FindResource("queue", name))]
            self.resources += active
            self.next_id += 1
        return active[which % len(active)]

    def _restriped(self, before: Resource, joined: Any, abandoned: Any, dropped: Any) -> None:
        self._now_is(
            before,
            before.groups + tuple(group for group in before.joining if group in joined),
            tuple(group for group in before.draining if group not in dropped)
            + tuple(group for group in before.joining if group in abandoned),
            tuple(group for group in before.joining if group not in (*joined, *abandoned)),
        )

    def _now_is(
        self, before: Resource, stripes: tuple[int, ...], draining: tuple[int, ...], joining: tuple[int, ...]
    ) -> None:
        if (stripes, draining, joining) == (before.groups, before.draining, before.joining):
            return
        former, version, layout = self._lately(before), before.version, before.layout
        if stripes != before.groups:
            former += (Former(before.groups, WallMillis(self.at), layout),)
            layout += 1
        if (stripes, draining) != (before.groups, before.draining):
            self.changes += 1
            version = self.changes
        over = () if len(stripes) == 1 else stripes
        moved = {"stripes": over, "draining": draining, "joining": joining}
        self._put(
            msgspec.structs.replace(
                before, **moved, former=former, version=version, layout=layout, changed=WallMillis(self.at)
            )
        )

    def _put(self, resource: Resource) -> None:
        place = next(number for number, each in enumerate(self.resources) if each.id == resource.id)
        self.resources[place] = resource

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

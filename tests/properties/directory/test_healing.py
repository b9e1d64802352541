"""The planner of healing against a cluster that is only sets: whatever happens between two steps, every step is safe,
and once nothing happens any more, all ends as it should be.
"""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from broker.base.ids import GroupId, Index, NodeId, Zone
from broker.base.instants import WallMillis
from broker.domain.directory import commands, healing
from broker.domain.directory.commands import Node
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.directory.placement import place
from broker.machine.contract import Place

FOUNDERS, FURTHER, GROUPS = ("a-0", "b-0", "c-0"), ("a-1", "b-1", "c-1"), 5
STEPS, QUIET_STEPS = 150, 400
PATIENCE = 3
"""Looks for which a group may be without a leader."""


def node(name: str) -> Node:
    return Node(NodeId(name), Zone(name[0]), f"{name}:1", f"{name}:2")


class Replicas:
    """A group in reality. ``forgetful``: voters that have lost what they promised. ``ever``: who had a replica, since
    the beginning."""

    def __init__(self, voters: tuple[NodeId, ...]) -> None:
        self.voters = set(voters)
        self.learners: set[NodeId] = set()
        self.held = set(voters)
        self.behind: set[NodeId] = set()
        self.forgetful: set[NodeId] = set()
        self.ever = set(voters)


class World:
    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.directory = DirectoryMachine()
        self.index = 0
        nodes = tuple(node(name) for name in FOUNDERS)
        groups = place(nodes, GROUPS)
        self.tell(commands.Bootstrap(nodes, groups))
        self.groups = {group.id: Replicas(group.replicas) for group in groups}
        self.up = {each.id for each in nodes}
        self.long_down: set[NodeId] = set()
        self.leaders: dict[GroupId, NodeId] = {}
        self.unled: dict[GroupId, int] = {}
        """For how many looks each group has had no leader."""
        self.formed = {group.id for group in groups}
        self.retired: set[GroupId] = set()

    def tell(self, command: commands.Command) -> commands.Reply:
        self.index += 1
        data = msgspec.msgpack.encode(command)
        reply: commands.Reply = self.directory.apply(data, Place(Index(self.index), WallMillis(self.index))).reply
        return reply

    @property
    def topology(self) -> commands.TopologyAnswer:
        answer: commands.TopologyAnswer = self.directory.query(commands.Topology(), WallMillis(0))
        return answer

    def reality(self) -> healing.Reality:
        holds = {
            each: frozenset(number for number, group in self.groups.items() if each in group.held) for each in self.up
        }
        known = {each.id for each in self.topology.nodes}
        standings: dict[GroupId, healing.Standing] = {}
        for number, group in self.groups.items():
            ready = frozenset(
                each
                for each in group.voters | group.learners
                if each in self.up and each in group.held and each not in group.behind
            )
            able = sorted(group.voters & ready)
            if len(able) > len(group.voters) // 2:
                voters, learners = tuple(sorted(group.voters)), tuple(sorted(group.learners))
                leader = self.leaders.get(number)
                if leader not in able:
                    leader = self.leaders[number] = self.chance.choice(able)
                standings[number] = healing.Standing(leader, voters, learners, ready)
        down = known - self.up
        numbers = [group.id for group in self.topology.groups]
        self.unled = {number: 0 if number in standings else self.unled.get(number, 0) + 1 for number in numbers}
        leaderless = frozenset(number for number, looks in self.unled.items() if looks > PATIENCE)
        return healing.Reality(holds, frozenset(down), frozenset(down & self.long_down), standings, leaderless)

    # --- what happens

    def happen(self) -> None:
        self.chance.choice(
            [
                self._stop,
                *[self._start] * 2,
                self._lose,
                self._lose_one,
                self._lose_what_forms,
                *[self._catch_up] * 2,
                self._ask,
                self._retire_late,
            ]
        )()

    def _stop(self) -> None:
        if len(self.up) > 2:
            stopped = self.chance.choice(sorted(self.up))
            self.up.discard(stopped)
            if self.chance.random() < 0.3:
                self.long_down.add(stopped)

    def _start(self) -> None:
        known = [each.id for each in self.topology.nodes]
        self.up |= {self.chance.choice(known)}
        self.long_down -= self.up

    def _lose(self) -> None:
        """A node's disk is lost, while no other replica is in danger: beyond that nobody promises anything. Groups that
        are being formed do not count."""
        lost = self.chance.choice(sorted(self.up))
        for number in self.formed:
            group = self.groups[number]
            safe = {each for each in group.voters if each in group.held and each not in group.behind} - {lost}
            if lost in group.held and len(safe) <= len(group.voters) // 2:
                return
        for number in self.groups:
            self._forget(number, lost)

    def _lose_one(self) -> None:
        number = self.chance.choice(sorted(self.formed))
        group = self.groups[number]
        lost = self.chance.choice(sorted(self.up))
        if len({each for each in group.voters if each in group.held and each not in group.behind} - {lost}) > 1:
            self._forget(number, lost)

    def _lose_what_forms(self) -> None:
        for group in self.topology.groups:
            if group.forming and group.id in self.groups:
                self._forget(group.id, self.chance.choice(sorted(self.up)))

    def _retire_late(self) -> None:
        """Somebody who led the directory once believes that a group cannot be formed."""
        number = self.chance.choice([*self.topology.groups]).id
        reply = self.tell(commands.RetireGroup(number, self.chance.choice(self.topology.nodes).id))
        if isinstance(reply, commands.Done):
            self.retired.add(number)

    def _forget(self, number: GroupId, lost: NodeId) -> None:
        group = self.groups[number]
        if lost in group.held:
            group.held.discard(lost)
            if lost in group.voters:
                group.forgetful.add(lost)

    def _catch_up(self) -> None:
        for group in self.groups.values():
            group.behind -= self.up

    def _ask(self) -> None:
        if self.chance.random() < 0.2 and len(self.topology.groups) < GROUPS + 3:
            self.tell(commands.AddGroups(1))
            return
        if self.chance.random() < 0.2:
            self.tell(commands.PlaceResource("queue", f"queue-{self.index}"))
            return
        name = self.chance.choice([*FOUNDERS, *FURTHER])
        known = {each.id: each for each in self.topology.nodes}
        if name not in known:
            self.tell(commands.AddNode(node(name)))
            self.up.add(NodeId(name))
        elif len(known) > 3 and len([each for each in known.values() if each.zone == name[0]]) > 1:
            self.tell(commands.SetDuty(NodeId(name), self.chance.choice(["active", "draining", "leaving"])))

    # --- what the controller does

    def step(self) -> bool:
        """Whether there was something to do."""
        reality, topology = self.reality(), self.topology
        for drop in healing.strays(topology, reality.holds):
            assert drop.group in self.retired or drop.node not in self.groups[drop.group].voters
            self.groups[drop.group].held.discard(drop.node)
        for left in healing.departed(topology):
            self.tell(commands.ForgetNode(left))
        changing = [group for group in topology.groups if group.change is not None]
        assert len(changing) <= 1
        steps = [
            healing.next_step(group, topology, reality)
            for group in topology.groups
            if group.change is not None or group.forming
        ]
        for step in steps:
            self._carry_out(step, reality)
        if not changing:
            found = healing.next_change(topology, reality) or healing.next_balancing(topology, reality)
            if found is not None:
                assert isinstance(self.tell(commands.BeginChange(*found)), commands.Done)
            return found is not None or bool(steps)
        return any(not isinstance(step, healing.Wait) for step in steps) or any(
            each.forming for each in topology.groups
        )

    def _carry_out(self, step: healing.Step, reality: healing.Reality) -> None:
        if isinstance(step, healing.Open):
            asked_for = [each for each in self.topology.groups if each.id == step.group]
            assert healing.is_awaited(asked_for[0], step.node, step.voters)
        if isinstance(step, healing.Open) and step.voters == (step.node,):
            # Founding: nobody else may ever have had a replica of the group, and so a vote or a log.
            assert step.group not in self.groups or self.groups[step.group].ever == {step.node}
            self.groups[step.group] = Replicas(step.voters)
            return
        if isinstance(step, healing.Formed):
            self.tell(commands.GroupFormed(step.group))
            self.formed.add(step.group)
            return
        if isinstance(step, healing.Retire):
            assert isinstance(self.tell(commands.RetireGroup(step.group, step.founder)), commands.Done)
            self.retired.add(step.group)
            return
        if isinstance(step, healing.Wait) and step.group not in self.groups:
            return
        group = self.groups[step.group]
        if isinstance(step, healing.Open):
            assert step.node not in step.voters
            assert step.node not in group.voters
            assert step.node not in group.learners, "its leader believes that it has something"
            group.held.add(step.node)
            group.ever.add(step.node)
            group.behind.add(step.node)
        elif isinstance(step, healing.Reconfigure):
            voters = set(step.voters)
            assert len(voters ^ group.voters) in {0, 1, 2}
            assert len(voters - group.voters) <= 1
            assert len(group.voters - voters) <= 1
            ready = reality.groups[step.group].ready
            assert len(voters & ready) > len(voters) // 2
            for new in voters - group.voters:
                assert new in ready
                assert new in group.learners
            group.voters, group.learners = voters, set(step.learners)
            # Who is out has nothing to remember.
            group.forgetful &= voters
        elif isinstance(step, healing.HandOver):
            assert step.leader == reality.groups[step.group].leader != step.to
            assert step.to in group.voters & reality.groups[step.group].ready
            self.leaders[step.group] = step.to
        elif isinstance(step, healing.End):
            self.tell(commands.EndChange(step.group, step.replicas))

    def check(self) -> None:
        zones = {each.id: each.zone for each in self.topology.nodes}
        for group in self.topology.groups:
            held = [zones[each] for each in group.replicas]
            assert len(set(held)) == len(held), f"group {group.id} has two replicas in one zone"
        assert self.formed <= {group.id for group in self.topology.groups}, "what may hold something stays"
        for placed in self.directory.query(commands.Unfinished(WallMillis(1 << 60)), WallMillis(0)):
            assert placed.group in self.formed
        for number, replicas in self.groups.items():
            # What has forgotten its promises is not whole before it has been out.
            assert not replicas.forgetful & replicas.held, f"group {number}: a forgetful voter came back"


@pytest.mark.parametrize("seed", range(60))
def test_every_step_is_safe_and_in_the_end_all_is_well(seed: int) -> None:
    # given a cluster to which much happens while it heals
    world = World(seed)
    for _ in range(STEPS):
        world.happen()
        if world.chance.random() < 0.8:
            world.step()
        world.check()

    # when nothing happens any more, all nodes are there, and every zone has one that takes replicas
    world.up = {each.id for each in world.topology.nodes}
    world.long_down.clear()
    for zone in "abc":
        world.tell(commands.SetDuty(min(each.id for each in world.topology.nodes if each.zone == zone), "active"))
    for _ in range(QUIET_STEPS):
        world._catch_up()
        if not world.step():
            break
        world.check()

    # then nothing is left to do: every group has its replicas, all whole, and who should have none has none
    topology = world.topology
    assert all(group.change is None and not group.forming for group in topology.groups)
    members = {each.id for each in topology.nodes}
    assert {number for number, replicas in world.groups.items() if replicas.held & members} == {
        group.id for group in topology.groups
    }
    assert world.retired == set(topology.retired)
    duties = {each.id: each.duty for each in topology.nodes}
    for group in topology.groups:
        replicas = world.groups[group.id]
        assert len(group.replicas) == 3
        assert set(group.replicas) == replicas.voters <= replicas.held
        assert not replicas.learners
        assert all(duties[each] == "active" for each in group.replicas)
    assert "leaving" not in duties.values()
    counts = healing.replica_counts(topology)
    for zone in "abc":
        active = [counts[each.id] for each in topology.nodes if each.zone == zone and each.duty == "active"]
        assert max(active) - min(active) <= 1


# --- found by the simulator


A, B, C = (NodeId(name) for name in FOUNDERS)
NODES = commands.TopologyAnswer((node("a-0"), node("b-0"), node("c-0")), ())
THREE = GroupId(3)


def reality_of(standing: healing.Standing | None, **holds: bool) -> healing.Reality:
    """All answer; ``holds``: who has a replica of group 3, by zone."""
    held = {NodeId(f"{zone}-0"): frozenset({THREE} if there else ()) for zone, there in holds.items()}
    return healing.Reality(held, frozenset(), frozenset(), {} if standing is None else {THREE: standing})


def test_a_learner_that_has_lost_its_replica_is_out_before_it_gets_another() -> None:
    """Its leader believed that it had caught up, and made it a voter with an empty log."""
    group = commands.Group(THREE, (A, B), A, commands.Change(None, C, "asked for"))
    standing = healing.Standing(A, (A, B), (C,), frozenset((A, B, C)))
    lost = reality_of(standing, a=True, b=True, c=False)
    assert healing.next_step(group, NODES, lost) == healing.Reconfigure(THREE, A, (A, B), ())
    out = reality_of(msgspec.structs.replace(standing, learners=()), a=True, b=True, c=False)
    assert healing.next_step(group, NODES, out) == healing.Open(THREE, C, (A, B))


def test_a_group_that_is_moved_before_it_is_founded_is_given_up() -> None:
    """An operator moved it at once, and it waited for a leader for ever."""
    group = commands.Group(THREE, (A,), A, commands.Change(A, B, "asked for"), forming=True)
    unfounded = reality_of(None, a=False, b=False, c=False)
    assert healing.next_step(group, NODES, unfounded) == healing.Retire(THREE, C)


def test_a_group_is_founded_again_only_as_long_as_nobody_else_can_have_it() -> None:
    """Another one might have been a voter, and be away now: it came back with a log and votes of the first founding."""
    unfounded = reality_of(None, a=False, c=False)
    alone = commands.Group(THREE, (A,), A, forming=True, alone=True)
    assert healing.next_step(alone, NODES, unfounded) == healing.Open(THREE, A, (A,))
    shared = msgspec.structs.replace(alone, alone=False)
    assert healing.next_step(shared, NODES, unfounded) == healing.Retire(THREE, C)


def test_a_group_that_loses_one_of_its_first_two_replicas_is_given_up_when_it_stays_without_a_leader() -> None:
    """It stayed so for ever, and while its change was under way nothing else was healed."""
    for change in (None, commands.Change(None, C, "asked for")):
        group = commands.Group(THREE, (A, B), A, change, forming=True)
        lost = reality_of(None, a=True, b=False, c=False)
        assert isinstance(healing.next_step(group, NODES, lost), healing.Wait)
        lasting = msgspec.structs.replace(lost, leaderless=frozenset({THREE}))
        assert healing.next_step(group, NODES, lasting) == healing.Retire(THREE, A if change else C)


def test_a_group_is_not_formed_without_a_leader() -> None:
    group = commands.Group(THREE, (A, B, C), A, forming=True)
    assert isinstance(healing.next_step(group, NODES, reality_of(None, a=True, b=False, c=False)), healing.Wait)
    standing = healing.Standing(A, (A, B, C), (), frozenset((A, B, C)))
    assert healing.next_step(group, NODES, reality_of(standing, a=True, b=True, c=True)) == healing.Formed(THREE)


def test_nobody_who_founds_another_group_nothing_is_given_up() -> None:
    group = commands.Group(THREE, (A, B), A, forming=True)
    nobody = healing.Reality({}, frozenset(), frozenset(), {}, frozenset({THREE}))
    step = healing.next_step(group, NODES, nobody)
    assert isinstance(step, healing.Wait)
    assert step.stuck


def test_a_replica_of_a_group_that_was_never_heard_of_stays() -> None:
    topology = msgspec.structs.replace(NODES, retired=(THREE,))
    held = {A: [THREE, GroupId(4)]}
    assert healing.strays(topology, held) == [healing.Drop(THREE, A)]


def test_who_has_lost_its_replica_is_not_there_whatever_its_leader_believes() -> None:
    """Leadership was to be handed to it, again and again."""
    group = commands.Group(THREE, (A, B), B, commands.Change(B, C, "asked for"))
    standing = healing.Standing(B, (A, B), (C,), frozenset((A, B, C)))
    lost = reality_of(standing, a=False, b=True, c=True)
    assert isinstance(healing.next_step(group, NODES, lost), healing.Wait)
    held = reality_of(standing, a=True, b=True, c=True)
    assert healing.next_step(group, NODES, held) == healing.HandOver(THREE, B, A)

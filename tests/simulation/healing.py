"""The healer of a simulated node: the product's own planner, driven in virtual time over bad lines.

What services/healing.py and services/orders.py do with calls and time-outs is done here with events: whoever leads the
directory looks at all nodes, decides, and gives orders; who is given one asks the directory before it opens or drops
anything. Orders are lost, late, and given by healers that have been succeeded.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import msgspec

from broker.base.errors import BrokerError, NotLeader
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.base.instants import Millis
from broker.domain.directory import commands, healing
from broker.domain.directory.healing import Reality, Standing, Step
from broker.raft.group import RaftGroup
from broker.raft.types import Membership, Role
from broker.replication import inputs
from broker.replication.node_core import NodeCore
from broker.services.healing import silences
from tests.simulation.courier import Carrier, Reply, Roads
from tests.simulation.court import DIRECTORY
from tests.simulation.network import Network
from tests.simulation.world import MILLISECOND

_REPORTS_COME_WITHIN = 100 * MILLISECOND
_TRY_AGAIN_AFTER = 5 * MILLISECOND
_encode = msgspec.msgpack.Encoder().encode


class HealingSettings(msgspec.Struct, frozen=True):
    """As of the product's healer. ``interval`` in microseconds, the others in milliseconds."""

    interval: int = 300 * MILLISECOND
    silent_after: Millis = Millis(1_500)
    dead_after: Millis = Millis(4_000)
    lag: int = 20
    balances: float = 0.0
    """How likely a look at a cluster in which all is well ends with a move that evens it out."""


def draw_settings(chance: Random) -> HealingSettings:
    return HealingSettings(
        interval=chance.choice((100, 300, 700)) * MILLISECOND,
        silent_after=Millis(chance.choice((800, 2_000))),
        dead_after=Millis(chance.choice((0, 2_000, 4_000))),
        lag=chance.choice((0, 5, 50)),
        balances=chance.choice((0.0, 0.5)),
    )


class Report(msgspec.Struct, frozen=True):
    """What a node says of its replicas; ``leads``: term and standing of the groups that it leads."""

    holds: frozenset[GroupId]
    leads: dict[GroupId, tuple[int, Standing]]


def report_of(core: NodeCore, network: Network, lag: int) -> Report:
    """``lag``: entries that a replica may be behind and count as caught up."""
    leads = {
        group: (replica.raft.term, _standing(core.me, replica.raft, network, lag))
        for group, replica in core.replicas.items()
        if replica.raft.role is Role.LEADER
    }
    return Report(frozenset(core.replicas), leads)


def _standing(me: NodeId, raft: RaftGroup, network: Network, lag: int) -> Standing:
    ready = {
        peer
        for peer, view in raft.progress().items()
        if view.matched >= raft.last_index - lag and network.connected(me, peer)
    }
    membership = raft.membership
    return Standing(me, membership.voters, membership.learners, frozenset({*ready, me}), bool(membership.outgoing))


class Healed(Carrier, Protocol):
    """A node as its healer sees it."""

    def leads(self, group: GroupId) -> bool: ...
    def open_replica(self, group: GroupId, voters: tuple[NodeId, ...]) -> None: ...
    def drop_replica(self, group: GroupId) -> None: ...
    def handle(self, happened: inputs.Input) -> None: ...


class Healer:
    """Of one process."""

    def __init__(self, node: Healed, roads: Roads, settings: HealingSettings) -> None:
        self._node = node
        self._roads = roads
        self._settings = settings
        self._chance = roads.world.chance("healing")
        self._heard: dict[NodeId, Millis] = {}
        self._led: dict[GroupId, Millis] = {}

    def look(self) -> None:
        """Again and again: the next one follows some time after what came of this one."""
        if not self._node.leads(DIRECTORY_GROUP):
            self._heard.clear()
            self._led.clear()
            self._node.work(self._settings.interval, self.look)
            return
        reports: dict[NodeId, Report] = {}

        def known(topology: Any, error: BrokerError | None) -> None:
            if error is not None:
                self._node.work(self._settings.interval, self.look)
                return
            for node in topology.nodes:
                self._ask_for_report(node.id, reports)
            self._node.work(_REPORTS_COME_WITHIN, self._decide, topology, reports)

        _ask_directory(self._node, self._roads, known)

    def _ask_for_report(self, node: NodeId, reports: dict[NodeId, Report]) -> None:
        def told(report: Any, error: BrokerError | None) -> None:
            if error is None:
                reports[node] = report

        lag = self._settings.lag
        network = self._roads.network

        def reporting(there: Any, answer: Reply) -> None:
            answer(report_of(there.running, network, lag), None)

        self._roads.call(self._node, node, reporting, told)

    def _decide(self, topology: commands.TopologyAnswer, reports: dict[NodeId, Report]) -> None:
        self._node.work(self._settings.interval, self.look)
        if not self._node.leads(DIRECTORY_GROUP):
            return
        reality = self._reality(topology, reports)
        for stray in healing.strays(topology, reality.holds):
            self._carry_out(stray)
        on_their_way = [group for group in topology.groups if group.change is not None or group.forming]
        for group in on_their_way:
            if group.forming:
                self._roads.strike_forming(group.everywhere)
            self._carry_out(healing.next_step(group, topology, reality))
        if any(group.change is not None for group in on_their_way):
            return
        found = healing.next_change(topology, reality)
        if found is None and self._chance.random() < self._settings.balances:
            found = healing.next_balancing(topology, reality)
        if found is not None:
            group_id, change = found
            self._note("begins", group_id, change.out, change.into, change.reason)
            self._count("lost replica given back" if change.out == change.into else "replica moved")
            self._tell_directory(commands.BeginChange(group_id, change))

    def _reality(self, topology: commands.TopologyAnswer, reports: dict[NodeId, Report]) -> Reality:
        now = self._node.clock.monotonic()
        nodes = [node.id for node in topology.nodes]
        leading: dict[GroupId, tuple[int, Standing]] = {}
        for report in reports.values():
            for group, (term, standing) in report.leads.items():
                if group not in leading or leading[group][0] < term:
                    leading[group] = term, standing
        unheard = silences(self._heard, nodes, reports, now)
        unled = silences(self._led, [group.id for group in topology.groups], leading, now)
        settings = self._settings
        return Reality(
            holds={node: report.holds for node, report in reports.items()},
            silent=frozenset(node for node in nodes if unheard[node] >= settings.silent_after),
            dead=frozenset(node for node in nodes if 0 < settings.dead_after <= unheard[node]),
            groups={group: standing for group, (_, standing) in leading.items()},
            leaderless=frozenset(group for group in unled if unled[group] >= settings.silent_after),
        )

    def _carry_out(self, step: Step) -> None:
        group = step.group
        if type(step) is not healing.Wait:
            self._note(step)
            self._count(f"step {type(step).__name__}")
        match step:
            case healing.Open(node=node, voters=voters):
                self._order(node, lambda there: _open_if_asked_for(there, self._roads, group, voters))
            case healing.Drop(node=node):
                self._order(node, lambda there: _drop_if_asked_for(there, self._roads, group))
            case healing.Reconfigure(leader=leader, voters=voters, learners=learners):
                target = Membership(voters, (), learners)
                self._order(leader, lambda there: self._reconfigure(there, group, target))
            case healing.HandOver(leader=leader, to=to):
                self._order(leader, lambda there: there.handle(inputs.Transfer(group, to)))
            case healing.End(replicas=replicas):
                self._tell_directory(commands.EndChange(group, replicas))
            case healing.Formed():
                self._tell_directory(commands.GroupFormed(group))
            case healing.Retire(founder=founder):
                self._tell_directory(commands.RetireGroup(group, founder))

    def _reconfigure(self, leader: Healed, group: GroupId, target: Membership) -> None:
        self._roads.strike(leader.name)
        if leader.up:
            leader.handle(inputs.Reconfigure(group, target))

    def _order(self, node: NodeId, act: Callable[[Any], None]) -> None:
        def there(ordered: Carrier, answer: Reply) -> None:
            act(ordered)
            answer(None, None)

        self._roads.call(self._node, node, there, lambda reply, error: None)

    def _tell_directory(self, command: Any) -> None:
        self._node.propose(DIRECTORY_GROUP, DIRECTORY, _encode(command), None, lambda answer: None)

    def _note(self, *words: object) -> None:
        self._roads.world.note(self._node.name, "heals:", *words)

    def _count(self, what: str) -> None:
        self._roads.world.counts[f"healing: {what}"] += 1


def _ask_directory(node: Carrier, roads: Roads, told: Reply, tries: int = 10) -> None:
    """Again, as long as those who are asked do not lead it."""

    def once(topology: Any, error: BrokerError | None) -> None:
        if isinstance(error, NotLeader) and tries > 1:
            node.work(_TRY_AGAIN_AFTER, _ask_directory, node, roads, told, tries - 1)
        else:
            told(topology, error)

    def asking(leader: Carrier, answer: Reply) -> None:
        question = commands.Topology()
        leader.query(DIRECTORY_GROUP, DIRECTORY, question, lambda given: answer(given.reply, given.error))

    roads.ask(node, DIRECTORY_GROUP, asking, once)


def _if_so(
    node: Healed, roads: Roads, wanted: Callable[[commands.TopologyAnswer], bool], act: Callable[[], None]
) -> None:
    """An order may have been on its way for long: what counts is what the directory says now."""

    def known(topology: Any, error: BrokerError | None) -> None:
        if error is None and wanted(topology):
            act()

    _ask_directory(node, roads, known)


def _open_if_asked_for(node: Healed, roads: Roads, group: GroupId, voters: tuple[NodeId, ...]) -> None:
    def wanted(known: commands.TopologyAnswer) -> bool:
        return any(each.id == group and healing.is_awaited(each, NodeId(node.name), voters) for each in known.groups)

    _if_so(node, roads, wanted, lambda: node.open_replica(group, voters))


def _drop_if_asked_for(node: Healed, roads: Roads, group: GroupId) -> None:
    def wanted(known: commands.TopologyAnswer) -> bool:
        return bool(healing.strays(known, {NodeId(node.name): (group,)}))

    _if_so(node, roads, wanted, lambda: node.drop_replica(group))

"""Brings the cluster's replicas to where the directory wants them: looks, and takes one safe step at a time.

Runs on every node and acts on the directory's leader. What to do is ``domain.directory.healing``'s affair; here it is
found out how things stand, and steps are carried out. A step that fails is found undone by the next look. Whoever leads
the directory next goes on where this one stopped: nothing about a change is known here alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Hashable
from typing import TypeVar

import msgspec

from broker.base.errors import BrokerError
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.base.instants import MINUTE, SECOND, Millis
from broker.base.trouble import Trouble
from broker.domain.directory import healing
from broker.domain.directory.commands import (
    BeginChange,
    Change,
    EndChange,
    ForgetNode,
    GroupFormed,
    RetireGroup,
    TopologyAnswer,
)
from broker.domain.directory.healing import Reality, Standing, Step
from broker.replication.groups import Groups, GroupStatus
from broker.services.cluster import ClusterService, NodeReport
from broker.services.directory import Directory
from broker.services.locating import Pause
from broker.services.orders import DropOrder, HandOverOrder, OpenOrder, Order, Orders, ReconfigureOrder

_logger = logging.getLogger(__name__)
_Name = TypeVar("_Name", bound=Hashable)


class HealingSettings(msgspec.Struct, frozen=True):
    """Milliseconds. ``interval`` between two looks when all is well, ``step`` while something is on its way; what is
    begun in between is noticed within ``nap``.
    ``silent_after``: a change does not wait longer for a node that should get a replica, nor does a group that is being
    formed for a leader. ``dead_after``: then a node's replicas go to others of its zone; 0: never by itself. ``lag``:
    entries that a replica may be behind and count as caught up. ``order_time``: what a node may take to carry an order
    out."""

    interval: Millis = Millis(2 * SECOND)
    step: Millis = Millis(150)
    nap: Millis = Millis(500)
    silent_after: Millis = Millis(15 * SECOND)
    dead_after: Millis = Millis(5 * MINUTE)
    lag: int = 1_000
    order_time: Millis = Millis(5 * SECOND)


def silences(heard: dict[_Name, Millis], names: list[_Name], there: Container[_Name], now: Millis) -> dict[_Name, int]:
    """For how many milliseconds each has not been there, or looked for. ``heard``: when each was last; kept up to date
    here."""
    for name in names:
        if name in there or name not in heard:
            heard[name] = now
    return {name: now - heard[name] for name in names}


class Healer:
    def __init__(
        self,
        groups: Groups,
        directory: Directory,
        cluster: ClusterService,
        orders: Orders,
        pause: Pause,
        settings: HealingSettings,
        trouble: Trouble,
    ) -> None:
        self._groups = groups
        self._directory = directory
        self._cluster = cluster
        self._orders = orders
        self._pause = pause
        self._settings = settings
        self._trouble = trouble
        self._heard: dict[NodeId, Millis] = {}
        """When each node answered last, or was first looked for by this leader of the directory."""
        self._led: dict[GroupId, Millis] = {}
        """When the leader of each group answered last, or was first looked for."""
        self._said: dict[GroupId, str] = {}
        self._stuck: set[GroupId] = set()
        self._begun = False
        """Something was begun meanwhile: there is no reason to rest."""

    async def run(self) -> None:
        """Until cancelled. A look that fails is logged, and the next one tries again."""
        while True:
            busy = False
            try:
                busy = await self.look()
            except BrokerError as error:
                _logger.info("healing: %s", error)
            rest = self._settings.step if busy or self._begun else self._settings.interval
            while rest > 0 and not self._begun:
                await self._pause(min(rest, self._settings.nap))
                rest = Millis(rest - self._settings.nap)
            self._begun = False

    async def look(self) -> bool:
        """One look and one step; whether more is to be done soon. Raises BrokerError."""
        if not self._groups.leads(DIRECTORY_GROUP):
            self._heard.clear()
            self._led.clear()
            self._tell({})
            return False
        topology, reality = await self.gather()
        stuck = healing.beyond_help(topology, reality)
        for left in healing.departed(topology):
            await self._directory.tell(ForgetNode(left), self._deadline())
            _logger.info("healing: node %s has left the cluster", left)
        for stray in healing.strays(topology, reality.holds):
            await self._order(stray.node, DropOrder(stray.group), f"drop its replica of group {stray.group}")
        on_their_way = [group for group in topology.groups if group.change is not None or group.forming]
        for group in on_their_way:
            step = healing.next_step(group, topology, reality)
            if isinstance(step, healing.Wait) and step.stuck:
                stuck.setdefault(group.id, f"a change of the replicas of group {group.id} waits: {step.why}")
            await self._carry_out(step)
        self._tell(stuck)
        if not any(group.change is not None for group in on_their_way):
            found = healing.next_change(topology, reality)
            if found is not None:
                await self.begin(*found)
                return True
        return bool(on_their_way)

    async def begin(self, group: GroupId, change: Change) -> None:
        """Raises Conflict, Unavailable, and what else the directory refuses."""
        await self._directory.tell(BeginChange(group, change), self._deadline())
        self._begun = True
        _logger.info("healing: group %s: %s -> %s begins (%s)", group, change.out, change.into, change.reason)

    async def gather(self) -> tuple[TopologyAnswer, Reality]:
        """The directory, and how things stand. Raises BrokerError when the directory cannot be asked."""
        topology = await self._directory.topology(self._deadline())
        nodes = [node.id for node in topology.nodes]
        answers = await asyncio.gather(*(self._cluster.report_of(node) for node in nodes))
        reports = {node: report for node, report in zip(nodes, answers, strict=True) if report is not None}
        standings = self._standings(reports)
        now = self._groups.clock.monotonic()
        unheard = silences(self._heard, nodes, reports, now)
        unled = silences(self._led, [group.id for group in topology.groups], standings, now)
        settings = self._settings
        return topology, Reality(
            holds={node: frozenset(status.group for status in report.groups) for node, report in reports.items()},
            silent=frozenset(node for node in nodes if unheard[node] >= settings.silent_after),
            dead=frozenset(node for node in nodes if 0 < settings.dead_after <= unheard[node]),
            groups=standings,
            leaderless=frozenset(group for group in unled if unled[group] >= settings.silent_after),
        )

    def _standings(self, reports: dict[NodeId, NodeReport]) -> dict[GroupId, Standing]:
        leading: dict[GroupId, tuple[NodeId, GroupStatus]] = {}
        for node, report in reports.items():
            for status in report.groups:
                known = leading.get(status.group)
                if status.role == "leader" and (known is None or known[1].term < status.term):
                    leading[status.group] = node, status
        return {group: self._standing(node, status) for group, (node, status) in leading.items()}

    def _standing(self, node: NodeId, status: GroupStatus) -> Standing:
        nearly = status.last - self._settings.lag
        ready = (each.node for each in status.replicas if each.connected and each.matched >= nearly)
        return Standing(node, status.voters, status.learners, frozenset(ready), status.joint)

    def _tell(self, stuck: dict[GroupId, str]) -> None:
        """What does not go on by itself stands in this node's trouble for as long as it is so."""
        for group in self._stuck - set(stuck):
            self._trouble.clear(f"healing-group-{group}")
        for group, sentence in stuck.items():
            self._trouble.set(f"healing-group-{group}", sentence)
        self._stuck = set(stuck)

    async def _carry_out(self, step: Step) -> None:
        group = step.group
        match step:
            case healing.Wait(why=why):
                if self._said.get(group) != why:
                    self._said[group] = why
                    _logger.info("healing: group %s waits: %s", group, why)
            case healing.Open(node=node, voters=voters):
                await self._order(node, OpenOrder(group, voters), f"start a replica of group {group}")
            case healing.Reconfigure(leader=leader, voters=voters, learners=learners):
                words = f"make voters of group {group} {', '.join(voters)}; learners {', '.join(learners) or 'none'}"
                await self._order(leader, ReconfigureOrder(group, voters, learners), words)
            case healing.HandOver(leader=leader, to=to):
                await self._order(leader, HandOverOrder(group, to), f"hand group {group} over to {to}")
            case healing.End(replicas=replicas):
                await self._directory.tell(EndChange(group, replicas), self._deadline())
                self._said.pop(group, None)
                _logger.info("healing: group %s has its replicas on %s", group, ", ".join(replicas))
            case healing.Formed():
                await self._directory.tell(GroupFormed(group), self._deadline())
                _logger.info("healing: group %s is formed", group)
            case healing.Retire(founder=founder):
                await self._directory.tell(RetireGroup(group, founder), self._deadline())
                self._said.pop(group, None)
                _logger.warning(
                    "healing: group %s cannot be formed: %s founds another one in its place", group, founder
                )

    async def _order(self, node: NodeId, order: Order, words: str) -> None:
        """A node that does not, or cannot, is met again at the next look."""
        try:
            await self._orders.order(node, order, self._settings.order_time)
            _logger.info("healing: %s is told to %s", node, words)
        except BrokerError as error:
            _logger.warning("healing: %s did not %s: %s", node, words, error)

    def _deadline(self) -> Millis:
        return Millis(self._groups.clock.monotonic() + self._settings.order_time)

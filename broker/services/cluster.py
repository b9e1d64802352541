"""The cluster as an operator sees it: who is in it, who leads what, how far behind replicas are; and handing over.

Every node is asked; one that does not answer in time is shown as unreachable. This room must not know queues.
"""

from __future__ import annotations

import asyncio

import msgspec

from broker.base.errors import BrokerError, InvalidArgument, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import SECOND, Millis
from broker.base.limits import LIST_PAGE
from broker.base.trouble import Trouble
from broker.domain.directory.commands import Group, Node
from broker.domain.directory.healing import replica_counts
from broker.replication.groups import Groups, GroupStatus
from broker.services.directory import Directory
from broker.services.locating import Locator
from broker.services.striping import stripes_by_session

KINDS = ("queue",)
STATUS_METHOD = "cluster.status"
ACCEPTS_METHOD = "cluster.accepts_leadership"
YES, NO = b"yes", b"no"
DECLINE_TIME = Millis(60 * SECOND)
"""How long a node that has handed over its leaderships takes none back: it is about to stop, or told to rest."""
LOOKUP_AGE = Millis(30 * SECOND)
"""How old a node's knowledge of a resource's group may be when it tells a client. Calls correct themselves, told places
do not."""
ASK_TIMEOUT = Millis(500)
TRANSFER_TIMEOUT = Millis(2_000)


class NodeReport(msgspec.Struct, frozen=True, array_like=True):
    """What a node says of itself. ``uptime`` in milliseconds; ``groups``: all of which it holds a replica; ``trouble``:
    what is wrong with it, in sentences."""

    version: str
    uptime: Millis
    groups: list[GroupStatus]
    trouble: tuple[str, ...] = ()


class NodeStatus(msgspec.Struct, frozen=True):
    """``report`` is None when the node did not answer."""

    node: Node
    report: NodeReport | None

    @property
    def leads(self) -> int:
        if self.report is None:
            return 0
        return sum(status.leader == self.node.id for status in self.report.groups)


class ClusterStatus(msgspec.Struct, frozen=True):
    """``groups`` as their leaders see them, or, without a leader that answered, as the replica with the longest log
    does."""

    cluster: str
    answered_by: NodeId
    nodes: tuple[NodeStatus, ...]
    groups: tuple[GroupStatus, ...]
    resources: dict[GroupId, int]
    """How many each group holds; empty when the directory did not answer."""
    replicas: dict[NodeId, int]
    """How many each node has, as the directory says."""
    changes: dict[GroupId, str]
    """What is on its way, in words."""
    missing: frozenset[tuple[GroupId, NodeId]]
    """Replicas that their nodes do not have, although they answer."""


class Place(msgspec.Struct, frozen=True):
    """Where to send a resource's calls. ``spread``: over several groups, so that sessions have places of their own."""

    group: GroupId
    node: Node
    spread: bool


class HandedOver(msgspec.Struct, frozen=True):
    moved: int
    kept: int


class ClusterService:
    def __init__(self, groups: Groups, locator: Locator, directory: Directory, version: str, trouble: Trouble) -> None:
        self.clock = groups.clock
        self._groups = groups
        self._locator = locator
        self._topology = locator.topology
        self._directory = directory
        self._version = version
        self._trouble = trouble
        self._started = groups.clock.monotonic()
        self._declines_until = self._started
        groups.serve(STATUS_METHOD, self._report_to)
        groups.serve(ACCEPTS_METHOD, self._accepts)

    async def status(self) -> ClusterStatus:
        """Takes at most ASK_TIMEOUT; never raises for a node that is down."""
        nodes = self._topology.nodes
        counting = self._count_resources(Millis(self.clock.monotonic() + ASK_TIMEOUT))
        asking = asyncio.gather(*(self.report_of(node.id) for node in nodes))
        resources, reports = await asyncio.gather(counting, asking)
        found = tuple(NodeStatus(node, report) for node, report in zip(nodes, reports, strict=True))
        known = self._topology.answer
        views = _best_views(found, known.retired)
        return ClusterStatus(
            cluster=self._topology.cluster,
            answered_by=self._groups.me,
            nodes=found,
            groups=views,
            resources=resources,
            replicas=replica_counts(known),
            missing=_missing(found, views),
            changes={group.id: _in_words(group) for group in known.groups if group.change or group.forming},
        )

    async def _count_resources(self, deadline: Millis) -> dict[GroupId, int]:
        counts: dict[GroupId, int] = {}
        for kind in KINDS:
            after, more = "", True
            while more:
                try:
                    page = await self._directory.page(kind, "", after, LIST_PAGE, deadline)
                except BrokerError:  # the rest of the status is all the more wanted then
                    return {}
                for resource in page.resources:
                    for group in resource.everywhere:
                        counts[group] = counts.get(group, 0) + 1
                    after = resource.name
                more = page.more
        return counts

    async def locate(self, kind: str, name: str, deadline: Millis, session: bytes = b"") -> Place | None:
        """None when there is no such resource. ``session``: of the stream that is to go there: streams to a resource
        that is spread over several groups spread over the leaders of these, and every node sends each to the same one.

        Raises InvalidArgument; Unavailable when its group has no leader until ``deadline``.
        """
        if kind not in KINDS:
            raise InvalidArgument(f"kind {kind!r} is not known: use {' or '.join(KINDS)}")
        resource = self._directory.lately_known(kind, name, LOOKUP_AGE)
        if resource is None:
            resource = await self._directory.find(kind, name, deadline)
        if resource is None:
            return None
        started = self.clock.monotonic()
        spread = len(resource.groups) > 1
        candidates = stripes_by_session(resource.groups, session) if spread and session else (resource.group,)
        for group in candidates:
            leader = self._groups.leader_of(group)
            if leader is None and not self._groups.holds(group):
                leader = await self._ask_leader(group)
            if leader is not None:
                return Place(group, self._topology.node(leader), spread)
        first = candidates[0]
        leader = await self._groups.leader_known(first, self._remaining(deadline)) or await self._ask_leader(first)
        if leader is None:
            raise Unavailable(self._locator.no_leader(first, Millis(self.clock.monotonic() - started)))
        return Place(first, self._topology.node(leader), spread)

    async def hand_over(self, deadline: Millis) -> HandedOver:
        """Give every leadership held here to another replica, spread over them, until ``deadline``.

        For DECLINE_TIME from now this node accepts none back.
        """
        self._declines_until = Millis(self._groups.clock.monotonic() + DECLINE_TIME)
        given = dict.fromkeys(await self._willing(), 0)
        moved = kept = 0
        for status in self._groups.status():
            if not self._groups.leads(status.group):
                continue
            if await self._hand_over_one(status, given, deadline):
                moved += 1
            else:
                kept += 1
        return HandedOver(moved, kept)

    async def _hand_over_one(self, status: GroupStatus, given: dict[NodeId, int], deadline: Millis) -> bool:
        candidates = sorted(
            (replica for replica in status.replicas if replica.connected and replica.node in given),
            key=lambda replica: (given[replica.node], -replica.matched, replica.node),
        )
        for candidate in candidates:
            remaining = self._remaining(deadline)
            if remaining <= 0:
                return False
            try:
                done = await self._groups.transfer(status.group, candidate.node, min(remaining, TRANSFER_TIMEOUT))
            except BrokerError:
                return not self._groups.leads(status.group)  # somebody else leads already
            if done:
                given[candidate.node] += 1
                return True
        return False

    async def _willing(self) -> list[NodeId]:
        """Peers that take leaderships: when all nodes stop at once, nobody waits for anybody."""
        peers = sorted(self._groups.connected())
        answers = await asyncio.gather(*(self._is_willing(peer) for peer in peers))
        return [peer for peer, willing in zip(peers, answers, strict=True) if willing]

    async def _is_willing(self, peer: NodeId) -> bool:
        try:
            return await self._groups.call(peer, ACCEPTS_METHOD, b"", ASK_TIMEOUT) == YES
        except BrokerError:  # it is going, or gone
            return False

    async def _ask_leader(self, group: GroupId) -> NodeId | None:
        """For a group without a replica here: what its replicas say."""
        for node in self._topology.replicas(group):
            report = await self.report_of(node)
            for status in report.groups if report is not None else ():
                if status.group == group and status.leader is not None:
                    return status.leader
        return None

    def _report(self) -> NodeReport:
        uptime = Millis(self._groups.clock.monotonic() - self._started)
        return NodeReport(self._version, uptime, self._groups.status(), self._trouble.sentences)

    async def _report_to(self, _: bytes) -> bytes:
        return _encoder.encode(self._report())

    async def _accepts(self, _: bytes) -> bytes:
        declines = self._groups.clock.monotonic() < self._declines_until or not self._groups.fit_to_lead
        return NO if declines else YES

    async def report_of(self, node: NodeId) -> NodeReport | None:
        """None when it does not answer within ASK_TIMEOUT."""
        if node == self._groups.me:
            return self._report()
        try:
            return _reports.decode(await self._groups.call(node, STATUS_METHOD, b"", ASK_TIMEOUT))
        except BrokerError:
            return None

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self._groups.clock.monotonic())


_encoder = msgspec.msgpack.Encoder()
_reports = msgspec.msgpack.Decoder(NodeReport)


def _in_words(group: Group) -> str:
    change = group.change
    if change is None:
        return "forming"
    if change.out == change.into:
        return f"{change.into} gets a new replica: {change.reason}"
    return f"{change.out or 'nobody'} -> {change.into or 'nobody'}: {change.reason}"


def _best_views(nodes: tuple[NodeStatus, ...], retired: tuple[GroupId, ...]) -> tuple[GroupStatus, ...]:
    """Without groups that were given up, of which a node may still have a replica."""
    best: dict[GroupId, GroupStatus] = {}
    for node in nodes:
        for status in node.report.groups if node.report is not None else ():
            current = best.get(status.group)
            if current is None or _worth(status) > _worth(current):
                best[status.group] = status
    return tuple(best[group] for group in sorted(best) if group not in retired)


def _missing(nodes: tuple[NodeStatus, ...], groups: tuple[GroupStatus, ...]) -> frozenset[tuple[GroupId, NodeId]]:
    held = {node.node.id: {status.group for status in node.report.groups} for node in nodes if node.report is not None}
    return frozenset(
        (group.group, node)
        for group in groups
        for node in (*group.voters, *group.learners)
        if node in held and group.group not in held[node]
    )


def _worth(status: GroupStatus) -> tuple[int, bool, int]:
    return (status.term, status.role == "leader", status.last)

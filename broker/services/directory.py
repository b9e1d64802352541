"""The directory as other services use it: which group holds a resource, and the steps of a resource's life.

Keeps what it has looked up; a resource that turns out to be gone is looked up again, and what changed over which groups
it is spread is followed. This room must not know what a resource contains.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.errors import BrokerError, Refusal
from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.instants import Millis
from broker.domain.directory.commands import (
    BeginTelling,
    Command,
    Done,
    FindResource,
    ListResources,
    Placed,
    PlaceResource,
    Reply,
    Resource,
    ResourceById,
    ResourcePage,
    Restriped,
    SpreadResource,
    Topology,
    TopologyAnswer,
    Unfinished,
    Unsettled,
)
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.locating import Locator
from broker.services.replies import accepted
from broker.services.request_ids import RequestIds
from broker.services.use_cases import UseCase

ROOM = "directory"
MAX_REMEMBERED = 100_000
"""Resources whose place a node remembers; beyond it the oldest are looked up again."""


class _Tell(msgspec.Struct, frozen=True, array_like=True):
    command: Command
    request: RequestId | None


class Directory:
    def __init__(self, groups: Groups, locator: Locator, request_ids: RequestIds) -> None:
        self._groups = groups
        self._locator = locator
        self._request_ids = request_ids
        self._known: dict[tuple[str, str], tuple[Resource, Millis]] = {}
        """With the instant of the lookup."""
        self._version = 0
        """Up to which changes of stripes have been followed."""
        self._telling = UseCase("directory.tell", _Tell, Reply, self._tell_here)
        self._finding = UseCase("directory.find", FindResource, Resource | None, self._ask_here)
        self._listing = UseCase("directory.list", ListResources, ResourcePage, self._ask_here)
        self._unfinished = UseCase("directory.unfinished", Unfinished, tuple[Resource, ...], self._ask_here)
        self._topology = UseCase("directory.topology", Topology, TopologyAnswer, self._ask_here)
        self._by_id = UseCase("directory.by_id", ResourceById, Resource | None, self._ask_here)
        self._restriped = UseCase("directory.restriped", Restriped, tuple[Resource, ...], self._ask_here)
        self._unsettled = UseCase("directory.unsettled", Unsettled, tuple[Resource, ...], self._ask_here)
        locator.serve(self._telling)
        locator.serve(self._finding)
        locator.serve(self._listing)
        locator.serve(self._unfinished)
        locator.serve(self._topology)
        locator.serve(self._by_id)
        locator.serve(self._restriped)
        locator.serve(self._unsettled)

    def known(self, kind: str, name: str) -> Resource | None:
        """As last looked up, without asking: may be gone since."""
        known = self._known.get((kind, name))
        return None if known is None else known[0]

    def lately_known(self, kind: str, name: str, age: Millis) -> Resource | None:
        """As looked up at most ``age`` ms ago."""
        known = self._known.get((kind, name))
        return None if known is None or self._groups.clock.monotonic() - known[1] > age else known[0]

    def forget(self, kind: str, name: str) -> None:
        self._known.pop((kind, name), None)

    async def find(self, kind: str, name: str, deadline: Millis) -> Resource | None:
        """A strong read: the active resource of that name, or None."""
        found: Resource | None = await self._ask(self._finding, FindResource(kind, name), deadline)
        if found is None or found.state != "active":
            self.forget(kind, name)
            return None
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[(kind, name)] = (found, self._groups.clock.monotonic())
        return found

    async def follow(self, deadline: Millis) -> None:
        """Brings what is remembered up to date with changes of stripes."""
        changed: tuple[Resource, ...] = await self._ask(self._restriped, Restriped(self._version), deadline)
        for resource in changed:
            self._version = resource.version
            known = self._known.get((resource.kind, resource.name))
            if known is not None and known[0].version < resource.version:
                self._known[(resource.kind, resource.name)] = (resource, known[1])

    async def by_id(self, kind: str, identity: int, deadline: Millis) -> Resource | None:
        """A strong read, in whatever state it is."""
        found: Resource | None = await self._ask(self._by_id, ResourceById(kind, identity), deadline)
        return found

    async def unsettled(self, deadline: Millis) -> tuple[Resource, ...]:
        resources: tuple[Resource, ...] = await self._ask(self._unsettled, Unsettled(), deadline)
        return resources

    async def page(self, kind: str, prefix: str, after: str, limit: int, deadline: Millis) -> ResourcePage:
        page: ResourcePage = await self._ask(self._listing, ListResources(kind, prefix, after, limit), deadline)
        return page

    async def unfinished(self, question: Unfinished, deadline: Millis) -> tuple[Resource, ...]:
        resources: tuple[Resource, ...] = await self._ask(self._unfinished, question, deadline)
        return resources

    async def topology(self, deadline: Millis) -> TopologyAnswer:
        answer: TopologyAnswer = await self._ask(self._topology, Topology(), deadline)
        return answer

    async def place(self, kind: str, name: str, deadline: Millis, stripes: int = 1, beside: str = "") -> Placed:
        """Raises Unavailable while one of that name is being deleted; InvalidArgument for more stripes than there are
        groups; QueueNotFound when ``beside`` does not exist."""
        return await self._placing(PlaceResource(kind, name, stripes, beside), deadline)

    async def spread(self, kind: str, identity: int, stripes: int, deadline: Millis) -> Resource:
        """On the way to so many stripes. Raises InvalidArgument, Unavailable, QueueNotFound."""
        return (await self._placing(SpreadResource(kind, identity, stripes), deadline)).resource

    async def begin_telling(self, kind: str, identity: int, deadline: Millis) -> Resource:
        """Its last telling is the new one. Raises QueueNotFound."""
        return (await self._placing(BeginTelling(kind, identity), deadline)).resource

    async def tell(self, command: Command, deadline: Millis) -> None:
        """A command whose reply is only done or refused. Raises what it is refused with."""
        reply = await self._send(command, deadline)
        if not isinstance(reply, Done):
            raise BrokerError(f"the directory answered {type(reply).__name__} to {type(command).__name__}")

    async def _placing(self, command: Command, deadline: Millis) -> Placed:
        reply = await self._send(command, deadline)
        if not isinstance(reply, Placed):
            raise BrokerError(f"the directory answered {type(reply).__name__} to {type(command).__name__}")
        return reply

    async def _send(self, command: Command, deadline: Millis) -> Reply:
        request = self._request_ids.take()
        try:
            reply: Reply = await self._locator.on_leader(
                DIRECTORY_GROUP, self._telling, _Tell(command, request), deadline
            )
        finally:
            self._request_ids.give_back(request)
        accepted(reply)  # here, not at the leader: being refused is an answer, and no reason to look for another one
        return reply

    async def _ask(self, case: UseCase[Any, Any], question: msgspec.Struct, deadline: Millis) -> Any:
        return await self._locator.on_leader(DIRECTORY_GROUP, case, question, deadline)

    async def _tell_here(self, group: GroupId, tell: _Tell, deadline: Millis) -> Any:
        remaining = Millis(deadline - self._groups.clock.monotonic())
        reply = await self._groups.propose(group, ROOM, tell.command, remaining, tell.request)
        if isinstance(reply, Refusal):
            raise reply.to_error()
        return reply

    async def _ask_here(self, group: GroupId, question: msgspec.Struct, deadline: Millis) -> Any:
        remaining = Millis(deadline - self._groups.clock.monotonic())
        return accepted(await self._groups.query(group, ROOM, question, remaining))

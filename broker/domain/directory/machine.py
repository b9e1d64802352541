"""The room "directory" of group 0: nodes, groups, and which group holds each named resource.

Implements broker.machine.contract.Machine. Small state, rare changes: what matters is that a lookup costs no scan. It
knows nothing of what a resource contains, and carries nothing out: services compare it with reality and act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from broker.base.errors import BrokerError, InvalidArgument, QueueNotFound, Refusal, Unavailable
from broker.base.ids import GroupId, Index
from broker.base.instants import WallMillis
from broker.domain.directory import commands, stripes
from broker.domain.directory.commands import Group, Node, Resource
from broker.domain.directory.members import Members
from broker.domain.directory.resources import ACTIVE, CREATING, DELETING, Resources
from broker.machine.contract import Applied, Effect, Place

ROOM = "directory"
VERSION = 4
"""1: without stripes. 2: without changes of membership. 3: without retired groups."""
_RESOURCES_A_PIECE = 500

_commands = msgspec.msgpack.Decoder(commands.Command)
_replies = msgspec.msgpack.Decoder(commands.Reply)
_NOT_FOUND: dict[str, type[BrokerError]] = {"queue": QueueNotFound}


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The first piece of a dump; the others are lists of resources, ``resources`` in all. ``changes``: of stripes, and
    tellings, so far."""

    version: int
    next_id: int
    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]
    resources: int
    changes: int = 0
    retired: tuple[GroupId, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_heads = msgspec.msgpack.Decoder(_Head)
_resource_lists = msgspec.msgpack.Decoder(list[Resource])


class DirectoryMachine:
    def __init__(self) -> None:
        self._members = Members()
        self._resources = Resources()
        self._next_id = 1
        self._changes = 0
        self._carry_out: dict[type, Callable[[Any, WallMillis], Any]] = {
            **_of_members(self._members),
            commands.PlaceResource: self._place,
            commands.ActivateResource: self._activate,
            commands.RetireResource: self._retire,
            commands.ForgetResource: self._forget,
            commands.SpreadResource: self._spread,
            commands.RestripeResource: self._restripe,
            commands.BeginTelling: self._begin_telling,
            commands.EndTelling: self._end_telling,
        }
        self._answer: dict[type, Callable[[Any], Any]] = {
            commands.FindResource: self._find,
            commands.ListResources: self._list,
            commands.Unfinished: lambda question: self._resources.unfinished(question.before),
            commands.Topology: lambda _: self._members.topology,
            commands.ResourceById: lambda question: self._resources.by_id(question.kind, question.id),
            commands.Restriped: lambda question: self._resources.restriped(question.after, question.limit),
            commands.Unsettled: lambda _: self._resources.unsettled(),
        }

    # --- the contract

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        """Replies Refused for what cannot be done. Raises msgspec.ValidationError for a command it does not know:
        a replica that skipped what another one can do would silently differ from it."""
        decoded = _commands.decode(command)
        try:
            reply = self._carry_out[type(decoded)](decoded, place.at)
        except BrokerError as error:
            reply = commands.Refused(Refusal.of(error))
        return Applied(reply)

    def waits(self, command: bytes | memoryview) -> bool:
        return isinstance(_commands.decode(command), commands.STEPS)

    def found_anew(self, nodes: tuple[Node, ...], groups: tuple[Group, ...]) -> None:
        """The same resources in a new cluster, which has these groups on these nodes. No command: for a backup that is
        being restored."""
        self._members = Members(nodes, groups)
        self._carry_out |= _of_members(self._members)

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:  # noqa: ARG002 - nothing here changes by time alone
        return ()

    def query(self, question: Any, at: WallMillis) -> Any:  # noqa: ARG002
        return self._answer[type(question)](question)

    def next_deadline(self) -> WallMillis | None:
        return None

    def dump(self) -> Iterator[bytes]:
        resources = list(self._resources)
        topology = self._members.topology
        head = _Head(
            VERSION, self._next_id, topology.nodes, topology.groups, len(resources), self._changes, topology.retired
        )
        return _pieces(head, resources)

    def load(self, pieces: Iterable[bytes]) -> None:
        source = iter(pieces)
        resources: list[Resource] = []
        try:
            head = _heads.decode(next(source, b""))
            if head.version > VERSION:
                raise ValueError(
                    f"the dump of the directory has version {head.version}, this node reads up to {VERSION}"
                )
            for piece in source:
                resources += _resource_lists.decode(piece)
        except msgspec.MsgspecError as error:
            raise ValueError(f"the dump of the directory is damaged: {error}") from error
        if len(resources) != head.resources:
            raise ValueError(f"the dump of the directory should hold {head.resources} resources, not {len(resources)}")
        self._next_id = head.next_id
        self._changes = head.changes
        self._members = Members(head.nodes, head.groups, head.retired)
        self._carry_out |= _of_members(self._members)
        self._resources = Resources(resources)

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return iter(())

    def decode_reply(self, data: bytes | memoryview) -> Any:
        return _replies.decode(data)

    # --- commands

    def _place(self, command: commands.PlaceResource, at: WallMillis) -> commands.Placed:
        existing = self._resources.by_name(command.kind, command.name)
        if existing is not None:
            if existing.state == DELETING:
                raise Unavailable(f"{command.kind} {command.name} is still being deleted: try again in a moment")
            return commands.Placed(existing, False)
        chosen = self._by_load()
        if not chosen:
            raise Unavailable(
                f"no data groups to hold {command.kind} {command.name}: the cluster is still being set up"
            )
        stripes.check_count(f"{command.kind} {command.name}", command.stripes, len(chosen))
        if command.beside:
            home = self._home_of(command.kind, command.beside)
            chosen = [home, *(group for group in chosen if group != home)]
        spread_over = tuple(chosen[: command.stripes]) if command.stripes > 1 else ()
        resource = Resource(command.kind, command.name, self._next_id, chosen[0], CREATING, at, spread_over)
        self._next_id += 1
        self._resources.put(resource)
        return commands.Placed(resource, True)

    def _activate(self, command: commands.ActivateResource, at: WallMillis) -> commands.Done:
        resource = self._known(command.kind, command.id)
        if resource.state == DELETING:
            raise _not_found(command.kind, command.id, "it is being deleted")
        self._change(resource, ACTIVE, at)
        return commands.Done()

    def _retire(self, command: commands.RetireResource, at: WallMillis) -> commands.Done:
        self._change(self._known(command.kind, command.id), DELETING, at)
        return commands.Done()

    def _forget(self, command: commands.ForgetResource, _: WallMillis) -> commands.Done:
        """Gone already: done."""
        resource = self._resources.by_id(command.kind, command.id)
        if resource is not None and resource.state != DELETING:
            raise InvalidArgument(
                f"{command.kind} {resource.name} (id {command.id}) is {resource.state}: retire it before forgetting it"
            )
        self._resources.remove(command.kind, command.id)
        return commands.Done()

    def _spread(self, command: commands.SpreadResource, at: WallMillis) -> commands.Placed:
        resource = self._active(command.kind, command.id)
        changed = stripes.spread(resource, command.stripes, self._by_load(), at)
        return commands.Placed(self._restriped(resource, changed), False)

    def _restripe(self, command: commands.RestripeResource, at: WallMillis) -> commands.Done:
        resource = self._active(command.kind, command.id)
        changed = stripes.restripe(resource, command.joined, command.abandoned, command.dropped, at)
        self._restriped(resource, changed)
        return commands.Done()

    def _begin_telling(self, command: commands.BeginTelling, at: WallMillis) -> commands.Placed:
        resource = self._active(command.kind, command.id)
        self._changes += 1
        telling = msgspec.structs.replace(resource, tellings=(*resource.tellings, self._changes), changed=at)
        self._resources.put(telling)
        return commands.Placed(telling, False)

    def _end_telling(self, command: commands.EndTelling, _: WallMillis) -> commands.Done:
        resource = self._resources.by_id(command.kind, command.id)
        if resource is not None and resource.state == ACTIVE:
            left = tuple(telling for telling in resource.tellings if telling != command.telling)
            self._resources.put(msgspec.structs.replace(resource, tellings=left))
        return commands.Done()

    # --- questions

    def _find(self, question: commands.FindResource) -> Resource | None:
        resource = self._resources.by_name(question.kind, question.name)
        return None if resource is None or resource.state == DELETING else resource

    def _list(self, question: commands.ListResources) -> commands.ResourcePage:
        return commands.ResourcePage(
            *self._resources.page(question.kind, question.prefix, question.after, question.limit)
        )

    # --- inside

    def _known(self, kind: str, identity: int) -> Resource:
        resource = self._resources.by_id(kind, identity)
        if resource is None:
            raise _not_found(kind, identity, "it was deleted, or never placed")
        return resource

    def _active(self, kind: str, identity: int) -> Resource:
        resource = self._known(kind, identity)
        if resource.state != ACTIVE:
            raise _not_found(kind, identity, f"it is {resource.state}")
        return resource

    def _home_of(self, kind: str, name: str) -> GroupId:
        resource = self._resources.by_name(kind, name)
        if resource is None or resource.state == DELETING:
            raise _NOT_FOUND.get(kind, InvalidArgument)(
                f"{kind} {name!r}, beside which to place another one, does not exist: create it first"
            )
        return resource.group

    def _by_load(self) -> list[GroupId]:
        """The data groups, those with the fewest resources first."""
        return sorted(self._members.topology.data_groups, key=lambda group: (self._resources.count_in(group), group))

    def _restriped(self, before: Resource, after: Resource) -> Resource:
        """Put it, as a new version if what callers go by has changed."""
        if (before.groups, before.draining) != (after.groups, after.draining):
            self._changes += 1
            after = msgspec.structs.replace(after, version=self._changes)
        if after != before:
            self._resources.put(after)
        return after

    def _change(self, resource: Resource, state: str, at: WallMillis) -> None:
        if resource.state != state:
            self._resources.put(msgspec.structs.replace(resource, state=state, since=at))


def _of_members(members: Members) -> dict[type, Callable[[Any, WallMillis], Any]]:
    return {
        commands.Bootstrap: members.bootstrap,
        commands.RegisterNode: members.register,
        commands.AddNode: members.add,
        commands.SetDuty: members.set_duty,
        commands.ForgetNode: members.forget,
        commands.BeginChange: members.begin_change,
        commands.EndChange: members.end_change,
        commands.AddGroups: members.add_groups,
        commands.GroupFormed: members.formed,
        commands.PreferLeader: members.prefer,
        commands.RetireGroup: members.retire,
    }


def _not_found(kind: str, identity: int, why: str) -> BrokerError:
    return _NOT_FOUND.get(kind, InvalidArgument)(f"no {kind} with id {identity}: {why}")


def _pieces(head: _Head, resources: list[Resource]) -> Iterator[bytes]:
    yield _encode(head)
    for start in range(0, len(resources), _RESOURCES_A_PIECE):
        yield _encode(resources[start : start + _RESOURCES_A_PIECE])

"""What the directory (group 0) can be told, asked, and what it answers.

The directory knows which nodes exist and in which zones, which groups exist and where their replicas live, and which
group holds each named resource. It knows nothing of what a resource contains.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId, NodeId, Zone
from broker.base.instants import WallMillis


class Node(msgspec.Struct, frozen=True, array_like=True):
    """``peer_address`` for other nodes, ``client_address`` for gRPC clients, ``admin_address`` for metrics and probes;
    each ``host:port``."""

    id: NodeId
    zone: Zone
    peer_address: str
    client_address: str
    admin_address: str = ""


class Group(msgspec.Struct, frozen=True, array_like=True):
    """``replicas`` sorted; ``preferred_leader`` is one of them."""

    id: GroupId
    replicas: tuple[NodeId, ...]
    preferred_leader: NodeId


class Resource(msgspec.Struct, frozen=True, array_like=True):
    """A named thing of one kind ("queue", later "topic", ...) living in one group. ``id`` is new for every incarnation.

    ``state``: "creating" until its group has it, then "active", then "deleting" until its group has dropped it.
    """

    kind: str
    name: str
    id: int
    group: GroupId
    state: str
    since: WallMillis


# --- commands


class Bootstrap(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first content of a new cluster's directory. Ignored when there is content already."""

    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]


class RegisterNode(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Adds a node or updates its addresses (a restarted node may have new ones). The zone of a node never changes."""

    node: Node


class PlaceResource(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Reserves the name in state "creating" in the data group with the fewest resources (lowest id among equals).
    Replies Placed with the existing resource when there is one; one in state "deleting" is refused Unavailable."""

    kind: str
    name: str


class ActivateResource(msgspec.Struct, frozen=True, array_like=True, tag=4):
    kind: str
    id: int


class RetireResource(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """To state "deleting": nobody finds it any more, its group still has to drop it."""

    kind: str
    id: int


class ForgetResource(msgspec.Struct, frozen=True, array_like=True, tag=6):
    kind: str
    id: int


Command = Bootstrap | RegisterNode | PlaceResource | ActivateResource | RetireResource | ForgetResource


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    pass


class Placed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    resource: Resource
    created: bool


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    refusal: Refusal


Reply = Done | Placed | Refused

# --- questions


class FindResource(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Answer: Resource | None."""

    kind: str
    name: str


class ListResources(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Active ones by name, ascending, those after ``after``. Answer: ResourcePage."""

    kind: str
    prefix: str = ""
    after: str = ""
    limit: int = 1000


class Unfinished(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Resources in state "creating" or "deleting" since before ``before``. Answer: tuple[Resource, ...]."""

    before: WallMillis


class Topology(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Answer: TopologyAnswer."""


Question = FindResource | ListResources | Unfinished | Topology


class ResourcePage(msgspec.Struct, frozen=True, array_like=True):
    resources: tuple[Resource, ...]
    more: bool


class TopologyAnswer(msgspec.Struct, frozen=True, array_like=True):
    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]

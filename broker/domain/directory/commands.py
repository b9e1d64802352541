"""What the directory (group 0) can be told, asked, and what it answers.

The directory knows which nodes exist and in which zones, which groups exist and where their replicas live, and which
group holds each named resource. It knows nothing of what a resource contains.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId, Zone
from broker.base.instants import WallMillis

ACTIVE_DUTY, DRAINING, LEAVING = "active", "draining", "leaving"


class Node(msgspec.Struct, frozen=True, array_like=True):
    """``peer_address`` for other nodes, ``client_address`` for gRPC clients, ``admin_address`` for metrics and probes;
    each ``host:port``. ``duty``: "active" takes replicas; "draining" gives those it has to others, and stays; "leaving"
    does too, to ``successor`` if there is one, and is forgotten then."""

    id: NodeId
    zone: Zone
    peer_address: str
    client_address: str
    admin_address: str = ""
    duty: str = ACTIVE_DUTY
    successor: NodeId | None = None


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One replica of a group on its way: ``into`` becomes a voter in place of ``out``. The same node in both: it has
    lost its replica, and is given a new one. ``reason`` in words, for people."""

    out: NodeId | None
    into: NodeId | None
    reason: str
    since: WallMillis = WallMillis(0)


class Group(msgspec.Struct, frozen=True, array_like=True):
    """``replicas`` sorted; ``preferred_leader`` is one of them. ``change``: the one under way. ``forming``: it
    was founded on one node and gets its other replicas, and holds no resource yet. ``alone``: only its founder can have
    a replica of it, as no change was ever begun; so that it can be founded again should that be lost."""

    id: GroupId
    replicas: tuple[NodeId, ...]
    preferred_leader: NodeId
    change: Change | None = None
    forming: bool = False
    alone: bool = False

    @property
    def everywhere(self) -> tuple[NodeId, ...]:
        """Every node that may hold a replica of it."""
        into = self.change.into if self.change is not None else None
        return self.replicas if into is None or into in self.replicas else (*self.replicas, into)


class Former(msgspec.Struct, frozen=True, array_like=True):
    """The stripes that a resource had until that instant. ``layout`` as of the resource then."""

    stripes: tuple[GroupId, ...]
    until: WallMillis
    layout: int


class Resource(msgspec.Struct, frozen=True, array_like=True):
    """A named thing of one kind ("queue", later "topic", ...) living in one group, its home, or spread over several.
    ``id`` is new for every incarnation.

    ``state``: "creating" until its groups have it, then "active", then "deleting" until its groups have dropped it.
    ``stripes``: all groups over which it is spread, the home group first; empty: the home group alone. ``draining``:
    groups that take nothing new, but may still hold something. ``joining``: groups that may have it already, but are
    not used yet. ``layout``: how often its stripes have changed; ``former``: what they were lately, oldest first.
    ``tellings``: numbers of those calls that are telling something to all stripes, so that these may differ for the
    moment. ``version`` grows with every change of stripes and draining, over all resources; ``changed``: when any of
    this last changed.
    """

    kind: str
    name: str
    id: int
    group: GroupId
    state: str
    since: WallMillis
    stripes: tuple[GroupId, ...] = ()
    draining: tuple[GroupId, ...] = ()
    joining: tuple[GroupId, ...] = ()
    former: tuple[Former, ...] = ()
    tellings: tuple[int, ...] = ()
    version: int = 0
    changed: WallMillis = WallMillis(0)
    layout: int = 0

    @property
    def groups(self) -> tuple[GroupId, ...]:
        """Those that take something new, the home group first."""
        return self.stripes or (self.group,)

    @property
    def everywhere(self) -> tuple[GroupId, ...]:
        """Every group that may hold something of it, the home group first."""
        return self.groups + self.draining + self.joining


# --- commands


class Bootstrap(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first content of a new cluster's directory. Ignored when there is content already."""

    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]


class RegisterNode(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Updates a node's addresses (a restarted node may have new ones). The zone of a node never changes, and its duty
    is not its own to say. Refuses NodeNotFound for one that was never added, or was removed."""

    node: Node


class PlaceResource(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Reserves the name in state "creating" in the data group with the fewest resources (lowest id among equals), or in
    the one where the resource named ``beside`` lives; spread over ``stripes`` groups, those with the fewest resources.
    Replies Placed with the existing resource when there is one; one in state "deleting" is refused Unavailable. Refuses
    InvalidArgument for more stripes than there are data groups."""

    kind: str
    name: str
    stripes: int = 1
    beside: str = ""


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


class SpreadResource(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Choose the groups over which an active resource is to be spread, ``stripes`` in all. New ones, those with the
    fewest resources, are joining from now on; those that are too many, the latest first, are draining. The same again
    changes nothing. Replies Placed. Refuses InvalidArgument for more stripes than there are data groups, and
    Unavailable while too many of them are still draining, or when they changed too often lately."""

    kind: str
    id: int
    stripes: int


class RestripeResource(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """``joined``: joining groups that have the resource and become stripes; ``abandoned``: joining groups that are
    draining from now on; ``dropped``: draining groups that do not have it any more. Refused as a whole, Unavailable,
    unless all are what they are said to be; a group that is neither draining nor anything else counts as dropped."""

    kind: str
    id: int
    joined: tuple[GroupId, ...] = ()
    abandoned: tuple[GroupId, ...] = ()
    dropped: tuple[GroupId, ...] = ()


class BeginTelling(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """All stripes are about to be told something, one after the other. Replies Placed, the new telling being the last
    of the resource's."""

    kind: str
    id: int


class EndTelling(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """All stripes have been told. Ended already: done."""

    kind: str
    id: int
    telling: int


class AddNode(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """A further node, which holds nothing yet; or a known one, whose addresses are updated."""

    node: Node


class SetDuty(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Refuses NodeNotFound, and InvalidArgument for a successor that is not another active node of its zone."""

    node: NodeId
    duty: str
    successor: NodeId | None = None


class ForgetNode(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """A leaving node without replicas is no more. Gone already: done. Refuses InvalidArgument while it has some."""

    node: NodeId


class BeginChange(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Refuses Conflict while the group's replicas change already, or are not such that this change makes sense."""

    group: GroupId
    change: Change


class EndChange(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """These are the group's replicas from now on. No change under way: done, and nothing changes."""

    group: GroupId
    replicas: tuple[NodeId, ...]


class AddGroups(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """So many further data groups, forming, each on the node with the fewest replicas. Replies Done. Refuses
    InvalidArgument for more than MAX_DATA_GROUPS in all."""

    count: int


class GroupFormed(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """It has all replicas that it can have. From now on it takes resources."""

    group: GroupId


class PreferLeader(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Refuses InvalidArgument for a node that is none of the group's replicas."""

    group: GroupId
    node: NodeId


class RetireGroup(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """A group that is being formed is given up: its id is never used again, and replicas of it belong to nobody.
    Another one takes its place, forming, on ``founder``. Retired already: done. Refuses Conflict for a group that is
    formed, and so may hold something; NodeNotFound, and InvalidArgument for a founder that is not active."""

    group: GroupId
    founder: NodeId


Command = (
    Bootstrap
    | RegisterNode
    | PlaceResource
    | ActivateResource
    | RetireResource
    | ForgetResource
    | SpreadResource
    | RestripeResource
    | BeginTelling
    | EndTelling
    | AddNode
    | SetDuty
    | ForgetNode
    | BeginChange
    | EndChange
    | AddGroups
    | GroupFormed
    | PreferLeader
    | RetireGroup
)

STEPS = (
    PlaceResource,
    ActivateResource,
    RetireResource,
    ForgetResource,
    SpreadResource,
    RestripeResource,
    BeginTelling,
    EndTelling,
)
"""Commands that go before or after something that is done in the groups of a resource."""


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


class ResourceById(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """In any state. Answer: Resource | None."""

    kind: str
    id: int


class Restriped(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Active resources whose stripes have changed, those with a version above ``after``, at most ``limit``, ascending.
    Answer: tuple[Resource, ...]."""

    after: int = 0
    limit: int = 1000


class Unsettled(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Active resources with joining or draining groups or tellings. Answer: tuple[Resource, ...]."""


Question = FindResource | ListResources | Unfinished | Topology | ResourceById | Restriped | Unsettled


class ResourcePage(msgspec.Struct, frozen=True, array_like=True):
    resources: tuple[Resource, ...]
    more: bool


class TopologyAnswer(msgspec.Struct, frozen=True, array_like=True):
    """``retired``: ids of groups that there were, ascending. One that is neither here nor there was never heard of."""

    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]
    retired: tuple[GroupId, ...] = ()

    @property
    def data_groups(self) -> list[GroupId]:
        """Those that take resources, ascending: not those that are being formed."""
        return [group.id for group in self.groups if group.id != DIRECTORY_GROUP and not group.forming]

"""What to move so that leadership lies where placement wants it: one step at a time. Pure.

A leadership is only handed to a node that could take it at once. Knows nothing of how it is handed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from broker.base.ids import GroupId, NodeId
from broker.domain.directory.commands import Group


class Transfer(msgspec.Struct, frozen=True):
    """Hand the leadership of ``group`` over."""

    group: GroupId
    giver: NodeId
    taker: NodeId


def next_transfer(
    groups: Iterable[Group], leaders: Mapping[GroupId, NodeId], ready: Mapping[GroupId, Collection[NodeId]]
) -> Transfer | None:
    """The next single step, or None when all that can be is where it belongs.

    ``leaders``: who leads each group now, as far as known. ``ready``: by group, the replicas that are connected and
    caught up. Groups without a known leader are left alone: an election is under way. Among several steps the one that
    relieves the node with the most leaderships comes first, then the lowest group.
    """
    burden: dict[NodeId, int] = {}
    for node in leaders.values():
        burden[node] = burden.get(node, 0) + 1
    steps = [
        Transfer(group.id, leader, group.preferred_leader)
        for group in groups
        if (leader := leaders.get(group.id)) is not None
        and leader != group.preferred_leader
        and group.preferred_leader in ready.get(group.id, ())
    ]
    return min(steps, key=lambda step: (-burden[step.giver], step.group), default=None)

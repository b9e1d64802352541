"""What a node does with its own replicas when the healer tells it: start an empty one, drop one, change who votes.

Being told is not enough: before a replica starts or goes, the directory is asked whether it should. So an order that
was on its way for long, or comes from a healer that has been succeeded, does no harm. This room decides nothing.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Conflict
from broker.base.ids import GroupId, NodeId
from broker.base.instants import SECOND, Millis
from broker.domain.directory import healing
from broker.replication.groups import CallHandler, Groups
from broker.services.directory import Directory

OPEN_METHOD = "replica.open"
DROP_METHOD = "replica.drop"
RECONFIGURE_METHOD = "replica.reconfigure"
HAND_OVER_METHOD = "replica.hand_over"
ASK_TIME = Millis(2 * SECOND)


class OpenOrder(msgspec.Struct, frozen=True, array_like=True):
    """``voters``: of the group, which this replica follows; this node alone: it founds the group."""

    group: GroupId
    voters: tuple[NodeId, ...]


class DropOrder(msgspec.Struct, frozen=True, array_like=True):
    group: GroupId


class ReconfigureOrder(msgspec.Struct, frozen=True, array_like=True):
    group: GroupId
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]


class HandOverOrder(msgspec.Struct, frozen=True, array_like=True):
    group: GroupId
    to: NodeId


Order = OpenOrder | DropOrder | ReconfigureOrder | HandOverOrder
_METHODS: dict[type, str] = {
    OpenOrder: OPEN_METHOD,
    DropOrder: DROP_METHOD,
    ReconfigureOrder: RECONFIGURE_METHOD,
    HandOverOrder: HAND_OVER_METHOD,
}
_encode = msgspec.msgpack.Encoder().encode
_open = msgspec.msgpack.Decoder(OpenOrder)
_drop = msgspec.msgpack.Decoder(DropOrder)
_reconfigure = msgspec.msgpack.Decoder(ReconfigureOrder)
_hand_over = msgspec.msgpack.Decoder(HandOverOrder)


class Orders:
    def __init__(self, groups: Groups, directory: Directory) -> None:
        self._groups = groups
        self._directory = directory
        self._handlers: dict[str, CallHandler] = {
            OPEN_METHOD: self._opened,
            DROP_METHOD: self._dropped,
            RECONFIGURE_METHOD: self._reconfigured,
            HAND_OVER_METHOD: self._handed_over,
        }
        for method, handler in self._handlers.items():
            groups.serve(method, handler)

    async def order(self, node: NodeId, order: Order, timeout: Millis) -> None:
        """Have ``node``, this one or another, carry ``order`` out. Raises what it refuses; Unavailable,
        DeadlineExceeded."""
        method = _METHODS[type(order)]
        payload = _encode(order)
        if node == self._groups.me:
            await self._handlers[method](payload)
        else:
            await self._groups.call(node, method, payload, timeout)

    async def _opened(self, payload: bytes) -> bytes:
        order = _open.decode(payload)
        me = self._groups.me
        topology = await self._directory.topology(self._deadline())
        group = next((each for each in topology.groups if each.id == order.group), None)
        if group is None or not healing.is_awaited(group, me, order.voters):
            raise Conflict(f"{me} is not to have a replica of group {order.group} now: the directory says otherwise")
        await self._groups.open(order.group, order.voters)
        return b""

    async def _dropped(self, payload: bytes) -> bytes:
        order = _drop.decode(payload)
        me = self._groups.me
        topology = await self._directory.topology(self._deadline())
        if not healing.strays(topology, {me: (order.group,)}):
            raise Conflict(
                f"{me} keeps its replica of group {order.group}: the directory does not say that it belongs to nobody"
            )
        await self._groups.drop(order.group)
        return b""

    async def _reconfigured(self, payload: bytes) -> bytes:
        order = _reconfigure.decode(payload)
        self._groups.reconfigure(order.group, order.voters, order.learners)
        return b""

    async def _handed_over(self, payload: bytes) -> bytes:
        order = _hand_over.decode(payload)
        await self._groups.transfer(order.group, order.to, ASK_TIME)
        return b""

    def _deadline(self) -> Millis:
        return Millis(self._groups.clock.monotonic() + ASK_TIME)

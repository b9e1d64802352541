"""What the mesh tells the floor above."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from broker.base.ids import NodeId


class MeshListener(Protocol):
    """Called on the event loop. An exception from the first three is a defect and ends the component."""

    def frame_received(self, peer: NodeId, payload: bytes) -> None:
        """In the order in which ``peer`` sent them, without gaps, for as long as one connection lasts."""

    def peer_up(self, peer: NodeId) -> None:
        """Frames can be sent to ``peer`` from now on."""

    def peer_down(self, peer: NodeId, closed_by_peer: bool) -> None:
        """Follows each ``peer_up`` once. ``closed_by_peer``: the other side's process died or is stopping, told by its
        kernel or by itself; False for silence, damaged bytes, replaced connections and what this side closed."""

    async def bulk_received(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        """One incoming bulk transfer. ``pieces`` ends when all has arrived and the checksum of the whole was right;
        it raises Unavailable if the sender is lost before and DataCorrupt if the checksum is wrong. Returning after the
        end confirms the transfer to the sender; raising, or returning before the end, refuses it."""

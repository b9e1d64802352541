"""What nodes say to one another, folded into the trace and counted where it shows that something rare was reached."""

from __future__ import annotations

from broker.base.ids import GroupId, NodeId
from broker.raft.group import RaftGroup
from broker.raft.messages import Append, AppendReply, Message, VoteReply
from broker.storage.store import Store
from tests.simulation.world import World


class Traffic:
    def __init__(self, world: World) -> None:
        self._world = world

    def sent(self, source: str, target: NodeId, payload: bytes, messages: list[tuple[GroupId, Message]]) -> None:
        world = self._world
        world.note_bytes(payload)
        for group, message in messages:
            kind = type(message)
            if kind is VoteReply and message.pre and not message.granted:
                world.counts["pre-vote rejection"] += 1
            elif kind is AppendReply and not message.matched:
                world.counts["append refused"] += 1
            if world.traced:
                world.tell(source, "->", target, group, message)

    def append_arrived(self, group: GroupId, message: Append, raft: RaftGroup, store: Store) -> None:
        """Entries of another leader's may stand where these belong: they will be replaced if the message is heard."""
        for entry in message.entries:
            if entry.index > raft.last_index or message.term < raft.term:
                return
            known = store.term_at(group, entry.index)
            if known is not None and known != entry.term:
                self._world.counts["log conflict"] += 1
                return

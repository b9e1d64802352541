"""One replica, "a", and what the others say to it, written out."""

from __future__ import annotations

from broker.base.ids import NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import (
    Campaign,
    Received,
)
from broker.raft.messages import (
    Message,
    VoteReply,
)
from broker.raft.ready import Ready
from broker.raft.types import HardState, RaftConfig, Role
from tests.unit.raft.replica import Replica, entry, fresh_mark

B, C = NodeId("b"), NodeId("c")
CONFIG = RaftConfig()


def replica_of(voters: str = "abc", *, log: tuple[int, ...] = (), term: int = 0, vote: str | None = None) -> Replica:
    """Restarted with entries of the terms ``log``; its disk syncs when told."""
    replica = Replica("a", fresh_mark(*voters), config=CONFIG)
    replica.syncs_at_once = False
    replica.disk.durable = {index: entry(index, of, b"%d" % index) for index, of in enumerate(log, 1)}
    replica.disk.hard_state = HardState(Term(term), NodeId(vote) if vote else None)
    replica.start(Millis(0))
    return replica


def leader_of(voters: str = "abc", *, log: tuple[int, ...] = (), term: int = 0) -> Replica:
    replica = replica_of(voters, log=log, term=term)
    replica.feed(Campaign(), Millis(0))
    for pre in (True, False):
        for voter in voters[1:]:
            say(replica, voter, VoteReply(Term(term + 1), True, pre))
    replica.sync(Millis(0))
    replica.outbox.clear()
    assert replica.group.role is Role.LEADER
    return replica


def say(replica: Replica, sender: str, message: Message, now: int = 0) -> Ready:
    return replica.feed(Received(NodeId(sender), message), Millis(now))


def sent(ready: Ready, kind: type[Message]) -> dict[str, Message]:
    found = (*ready.messages, *ready.messages_after_sync)
    return {addressed.to: addressed.message for addressed in found if isinstance(addressed.message, kind)}

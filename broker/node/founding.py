"""How a node with an empty data directory finds out whether it founds the cluster with others, or has lost its data.

A cluster is founded once, when all its founders have met, all of them empty. A node that comes later with an empty
directory must not found anything: it may have voted before, and has forgotten how. It belongs to the cluster, holds
nothing, and the healer gives it its replicas anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from broker.base.errors import BrokerError
from broker.base.ids import NodeId
from broker.base.instants import SECOND, Millis
from broker.node.memory import Memory
from broker.replication.groups import Groups
from broker.telemetry import logs

_log = logs.get(__name__)

FOUNDING_METHOD = "node.founding"
ASK_TIME = Millis(2 * SECOND)

Decision = Literal["found", "join"]


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """``belongs``: the answering node is of a cluster; ``founder``: with which incarnation of the asking node that was
    founded, as far as it was there."""

    belongs: bool
    founder: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_answers = msgspec.msgpack.Decoder(Answer)


def decide(
    incarnation: str, others: Collection[NodeId], answers: Mapping[NodeId, Answer], met: Collection[NodeId]
) -> Decision | None:
    """``others``: the founders but this node; ``met``: those of which the incarnation is known. None: too early."""
    founded = [answer for answer in answers.values() if answer.belongs]
    if founded:
        return "found" if any(answer.founder == incarnation for answer in founded) else "join"
    return "found" if all(node in answers and node in met for node in others) else None


class Founding:
    """Answers others from the beginning; ``ask`` and ``conclude`` are for a node that does not belong anywhere yet."""

    def __init__(self, memory: Memory, groups: Groups, founders: Collection[NodeId]) -> None:
        self._memory = memory
        self._groups = groups
        self._others = [node for node in founders if node != groups.me]
        self._said = ""
        groups.serve(FOUNDING_METHOD, self._answer)

    async def ask(self) -> Decision | None:
        """Ask all founders that are there, once."""
        answers: dict[NodeId, Answer] = {}
        for node in self._others:
            if node in self._groups.connected():
                try:
                    reply = await self._groups.call(node, FOUNDING_METHOD, self._groups.me.encode(), ASK_TIME)
                except BrokerError:
                    continue
                answers[node] = _answers.decode(reply)
        met = [node for node in self._others if self._memory.incarnation_of(node) is not None]
        decision = decide(self._memory.life.incarnation, self._others, answers, met)
        if decision is None:
            missing = ", ".join(node for node in self._others if node not in answers)
            if missing != self._said:
                _log.info("waiting for all founders of the cluster", missing=missing)
                self._said = missing
        return decision

    def conclude(self, decision: Decision) -> None:
        """From now on of the cluster. Raises DiskFull, OSError."""
        if decision == "join":
            _log.warning("the cluster is there already: this data directory is new, its replicas will be given anew")
            self._memory.belong({})
            return
        others = {node: self._memory.incarnation_of(node) or "" for node in self._others}
        self._memory.belong({**others, self._groups.me: self._memory.life.incarnation})

    async def _answer(self, payload: bytes) -> bytes:
        asking = NodeId(payload.decode())
        return _encode(Answer(self._memory.belongs, self._memory.founder(asking)))

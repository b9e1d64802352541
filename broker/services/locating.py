"""Finds a group's leader and gets a use case done there: here, or one hop away, over elections and lost connections.

A retry after an unknown outcome is safe because every changing command carries a request id or is idempotent by its
nature; the services above see to that. This room must not know any use case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from broker.base.errors import DeadlineExceeded, DiskFull, NotLeader, Overloaded, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import Millis
from broker.replication.groups import Groups
from broker.services.topology import Topology
from broker.services.use_cases import Answer, Request, UseCase

Pause = Callable[[Millis], Awaitable[None]]
"""Waits that long: the event loop's sleep, or the simulator's."""


class LocatingSettings(msgspec.Struct, frozen=True):
    """Milliseconds. ``patience``: how long a call may go without a leader that serves it, if its deadline is later;
    ``patience_alone``: the same while this node reaches fewer replicas than a leader needs: another node may do better.

    Retries wait ``first_pause``, then twice as long each time, at most ``longest_pause``.
    """

    patience: Millis = Millis(5_000)
    patience_alone: Millis = Millis(300)
    first_pause: Millis = Millis(2)
    longest_pause: Millis = Millis(50)


class Locator:
    def __init__(self, groups: Groups, topology: Topology, pause: Pause, settings: LocatingSettings) -> None:
        self._groups = groups
        self._topology = topology
        self._pause = pause
        self._settings = settings
        self._hints: dict[GroupId, NodeId] = {}
        """Who was last said to lead a group that this node has no replica of."""

    @property
    def topology(self) -> Topology:
        return self._topology

    def serve(self, case: UseCase[Request, Answer]) -> None:
        """Carry out ``case`` for other nodes when this one leads the group."""

        async def handle(payload: bytes) -> bytes:
            group, remaining, request = case.decode_request(payload)
            if not self._groups.leads(group):
                leader = self._groups.leader_of(group)
                raise NotLeader(f"{self._groups.me} does not lead group {group}", leader)
            deadline = Millis(self._groups.clock.monotonic() + remaining)
            return case.encode_answer(await case.run(group, request, deadline))

        self._groups.serve(case.name, handle)

    async def on_leader(
        self, group: GroupId, case: UseCase[Request, Answer], request: Request, deadline: Millis
    ) -> Answer:
        """Carry out ``case`` on the group's leader, wherever that is and becomes until ``deadline``.

        Raises what the use case raises; Unavailable when no leader serves it in time.
        """
        groups = self._groups
        if groups.leads(group):  # the ordinary case pays for nothing else
            try:
                return await case.run(group, request, deadline)
            except (NotLeader, Unavailable, DeadlineExceeded) as error:
                trouble: Exception = error
                unsure = not isinstance(error, NotLeader)
        else:
            leader = groups.leader_of(group)
            if leader is not None and leader != groups.me:
                try:
                    return await self._forward(leader, group, case, request, deadline)
                except (NotLeader, Unavailable, DeadlineExceeded) as error:
                    trouble = error
                    unsure = not isinstance(error, NotLeader)
            else:
                trouble, unsure = Unavailable(f"no leader of group {group} is known"), False
        return await self._persist(group, case, request, deadline, trouble, unsure)

    async def _persist(
        self,
        group: GroupId,
        case: UseCase[Request, Answer],
        request: Request,
        deadline: Millis,
        trouble: Exception,
        unsure: bool,
    ) -> Answer:
        """After the first attempt failed with ``trouble``: again and again, until patience or time is over. ``unsure``:
        it may have taken effect, so that "nothing happened" cannot be said of the whole any more."""
        groups, settings = self._groups, self._settings
        started = groups.clock.monotonic()
        give_up = min(deadline, Millis(started + settings.patience))
        pause = settings.first_pause
        attempt = 0
        while groups.clock.monotonic() < give_up:
            if not self._reaches_enough(group):
                give_up = min(give_up, Millis(started + settings.patience_alone))
            self._learn(group, trouble)
            target = await self._candidate(group, attempt, give_up)
            attempt += 1
            try:
                if target == groups.me and groups.leads(group):
                    return await case.run(group, request, deadline)
                if target is not None and target != groups.me:
                    return await self._forward(target, group, case, request, deadline)
            except (NotLeader, Unavailable, DeadlineExceeded) as error:
                trouble = error
                unsure |= not isinstance(error, NotLeader)
            except (DiskFull, Overloaded) as error:
                if unsure:
                    raise Unavailable(f"what came of an earlier attempt is not known; the last one: {error}") from error
                raise
            remaining = Millis(give_up - groups.clock.monotonic())
            if remaining > 0:
                await self._pause(min(pause, remaining))
                pause = min(Millis(pause * 2), settings.longest_pause)
        if isinstance(trouble, DeadlineExceeded) or give_up <= started:
            raise trouble
        raise Unavailable(self.no_leader(group, Millis(give_up - started))) from trouble

    async def _candidate(self, group: GroupId, attempt: int, give_up: Millis) -> NodeId | None:
        """Whom to try next; waits for an election of a group that has a replica here. None when nobody is known."""
        groups = self._groups
        if groups.leads(group):
            return groups.me
        if groups.holds(group):
            remaining = Millis(max(1, give_up - groups.clock.monotonic()))
            return await groups.leader_known(group, remaining)
        replicas = [node for node in self._topology.replicas(group) if node != groups.me]
        hint = self._hints.get(group)
        if hint is not None or not replicas:
            return hint
        return replicas[attempt % len(replicas)]

    def _learn(self, group: GroupId, trouble: Exception) -> None:
        if isinstance(trouble, NotLeader) and trouble.leader is not None:
            self._hints[group] = NodeId(trouble.leader)
        else:
            self._hints.pop(group, None)

    async def _forward(
        self, node: NodeId, group: GroupId, case: UseCase[Request, Answer], request: Request, deadline: Millis
    ) -> Answer:
        remaining = Millis(deadline - self._groups.clock.monotonic())
        if remaining <= 0:
            raise DeadlineExceeded(f"no time left to ask {node} for {case.name}; allow more than this call had")
        payload = case.encode_request(group, remaining, request)
        return case.decode_answer(await self._groups.call(node, case.name, payload, remaining))

    def _reaches_enough(self, group: GroupId) -> bool:
        replicas = self._topology.settled_replicas(group)
        return not replicas or self._reachable(replicas) > len(replicas) // 2

    def _reachable(self, replicas: tuple[NodeId, ...]) -> int:
        up = self._groups.heard() | {self._groups.me}
        return sum(node in up for node in replicas)

    def no_leader(self, group: GroupId, waited: Millis) -> str:
        """Why a group could not be served for ``waited`` ms, in words for the caller."""
        replicas = self._topology.settled_replicas(group)
        if not replicas:
            return f"no leader for group {group} within {waited} ms: {self._groups.me} does not know the group; retry"
        reachable = self._reachable(replicas)
        needed = len(replicas) // 2 + 1
        names = ", ".join(replicas)
        count = f"fewer than {needed}" if reachable < needed else f"{reachable}"
        reason = f"{count} of its {len(replicas)} replicas ({names}) are reachable"
        return f"no leader for group {group} within {waited} ms: {reason}; retry"

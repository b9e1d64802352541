"""One state of the whole cluster, captured at one time: hold every group, capture every group, release them.

What was captured lies at every replica of each group and is read from there, part by part. Why the states of the groups
fit together is told in docs/decisions/0015. This room must not know what becomes of the parts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import msgspec

from broker.base.errors import BackupExpired, BrokerError, DeadlineExceeded, Unavailable
from broker.base.ids import DIRECTORY_GROUP, GroupId, Index, NodeId
from broker.base.instants import SECOND, Millis, WallMillis
from broker.domain.directory.commands import Group
from broker.machine import holding
from broker.machine.holding import Captured, CaptureFor, Held, HoldFor, Release
from broker.replication.captures import CapturedPart
from broker.replication.groups import Groups
from broker.services.directory import Directory
from broker.services.locating import Locator
from broker.services.replies import accepted
from broker.services.together import all_of
from broker.services.use_cases import UseCase

READ_METHOD = "backup.read"
KEEP_METHOD = "backup.keep"
READ_TIME = Millis(5 * SECOND)
RELEASE_TIME = Millis(2 * SECOND)
_AT_ONCE = 4
"""Groups captured at the same time: each takes a moment of its replicas' loops."""
_NAME_BYTES = 16

_logger = logging.getLogger(__name__)


class CapturedGroup(msgspec.Struct, frozen=True):
    """The state after entry ``index``. ``sources``: nodes that have it, those first that have least else to do."""

    group: GroupId
    index: Index
    sources: tuple[NodeId, ...]


class CapturedCluster(msgspec.Struct, frozen=True):
    """``at``: this node's clock when all was captured."""

    backup: bytes
    cluster: str
    at: WallMillis
    groups: tuple[CapturedGroup, ...]


class _Tell(msgspec.Struct, frozen=True, array_like=True):
    command: HoldFor | CaptureFor | Release


class _Read(msgspec.Struct, frozen=True, array_like=True):
    group: GroupId
    backup: bytes
    part: int


class _Keep(msgspec.Struct, frozen=True, array_like=True):
    backup: bytes
    groups: tuple[GroupId, ...]


_encode = msgspec.msgpack.Encoder().encode
_reads = msgspec.msgpack.Decoder(_Read)
_keeps = msgspec.msgpack.Decoder(_Keep)
_parts = msgspec.msgpack.Decoder(CapturedPart)


class BackupService:
    def __init__(
        self, groups: Groups, locator: Locator, directory: Directory, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._groups = groups
        self._locator = locator
        self._directory = directory
        self._random_bytes = random_bytes
        self._telling: UseCase[_Tell, int] = UseCase("backup.tell", _Tell, int, self._tell_here)
        locator.serve(self._telling)
        groups.serve(READ_METHOD, self._read_for)
        groups.serve(KEEP_METHOD, self._keep_for)

    async def begin(self, deadline: Millis) -> CapturedCluster:
        """Capture the cluster. All that was acknowledged before the call is in what is captured, once.

        Raises BackupInProgress; Unavailable when a group has no leader, or capturing took longer than a hold lasts.
        """
        backup = self._random_bytes(_NAME_BYTES)
        asked = [DIRECTORY_GROUP]
        try:
            # The directory first: while it is held nothing can come to be in a group that it does not know.
            since = {DIRECTORY_GROUP: await self._tell(DIRECTORY_GROUP, HoldFor(backup), deadline)}
            known = {group.id: group for group in (await self._directory.topology(deadline)).groups}
            if DIRECTORY_GROUP not in known:
                raise Unavailable("the cluster is still being set up: retry")
            forming = [str(group.id) for group in known.values() if group.forming]
            if forming:
                raise Unavailable(f"groups {', '.join(forming)} are being formed: retry when they are")
            others = [group for group in known if group != DIRECTORY_GROUP]
            asked += others
            held = await all_of(self._tell(group, HoldFor(backup), deadline) for group in others)
            since.update(zip(others, held, strict=True))
            captured = await self._capture(backup, known, since, deadline)
        except BackupExpired as error:
            raise Unavailable(f"not all groups could be captured in time: {error}; retry") from None
        finally:
            await self._release(backup, asked)
        _logger.info("backup: captured %s groups for backup %s", len(captured), backup.hex())
        return CapturedCluster(backup, self._locator.topology.cluster, self._groups.clock.wall(), captured)

    async def read(self, node: NodeId, group: GroupId, backup: bytes, part: int) -> CapturedPart:
        """From what ``node`` has captured. Raises BackupExpired when it does not have it or does not answer: another
        one may; DataCorrupt."""
        if node == self._groups.me:
            return await self._groups.read_captured(group, backup, part)
        try:
            return _parts.decode(
                await self._groups.call(node, READ_METHOD, _encode(_Read(group, backup, part)), READ_TIME)
            )
        except (Unavailable, DeadlineExceeded) as error:
            raise BackupExpired(f"what {node} has captured of group {group} cannot be had: {error}") from None

    async def keep(self, backup: bytes, groups: Collection[GroupId]) -> None:
        """What was captured is still needed of ``groups``, and no more of the others. Nodes that cannot be reached find
        out by themselves."""
        wanted = _Keep(backup, tuple(groups))
        self._groups.keep_captured(backup, wanted.groups)
        await all_of(self._keep_on(node, wanted) for node in sorted(self._groups.connected()))

    # --- inside

    async def _capture(
        self, backup: bytes, known: dict[GroupId, Group], since: dict[GroupId, Index], deadline: Millis
    ) -> tuple[CapturedGroup, ...]:
        captured: list[CapturedGroup] = []
        waiting: Sequence[GroupId] = sorted(since)
        while waiting:
            now, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            indexes = await all_of(self._tell(group, CaptureFor(backup, since[group]), deadline) for group in now)
            for group, index in zip(now, indexes, strict=True):
                captured.append(CapturedGroup(group, index, self._sources(known[group])))
        return tuple(captured)

    def _sources(self, group: Group) -> tuple[NodeId, ...]:
        """For the leader clients wait, and for a follower nobody while another one keeps up."""
        leader = self._groups.leader_of(group.id)
        return tuple(sorted(group.replicas, key=lambda node: (node == leader, node)))

    async def _release(self, backup: bytes, groups: Collection[GroupId]) -> None:
        deadline = Millis(self._groups.clock.monotonic() + RELEASE_TIME)
        await all_of(self._release_one(group, backup, deadline) for group in groups)

    async def _release_one(self, group: GroupId, backup: bytes, deadline: Millis) -> None:
        try:
            await self._tell(group, Release(backup), deadline)
        except BrokerError as error:
            _logger.warning("backup: group %s is held until that ends by itself: %s", group, error)

    async def _tell(self, group: GroupId, command: HoldFor | CaptureFor | Release, deadline: Millis) -> Index:
        return Index(await self._locator.on_leader(group, self._telling, _Tell(command), deadline))

    async def _tell_here(self, group: GroupId, wanted: _Tell, deadline: Millis) -> int:
        remaining = Millis(deadline - self._groups.clock.monotonic())
        reply = accepted(await self._groups.propose(group, holding.ROOM, wanted.command, remaining))
        match reply:
            case Held():
                return reply.since
            case Captured():
                return reply.index
        return 0

    async def _read_for(self, payload: bytes) -> bytes:
        wanted = _reads.decode(payload)
        return _encode(await self._groups.read_captured(wanted.group, wanted.backup, wanted.part))

    async def _keep_for(self, payload: bytes) -> bytes:
        wanted = _keeps.decode(payload)
        self._groups.keep_captured(wanted.backup, wanted.groups)
        return b""

    async def _keep_on(self, node: NodeId, wanted: _Keep) -> None:
        with suppress(BrokerError):
            await self._groups.call(node, KEEP_METHOD, _encode(wanted), READ_TIME)

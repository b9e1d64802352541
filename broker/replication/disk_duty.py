"""What this node's disk can be asked for: judged once a second, told in log and status, and acted upon.

The verdicts on speed and room are those of disk_watch and disk_room. A disk that is slow, nearly full or stuck does not
lead if another can; one that is nearly full takes no more messages; what is damaged is named. Holds no clock.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker.base.errors import DataCorrupt, DiskFull, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import Millis
from broker.base.limits import MIB
from broker.base.trouble import Trouble
from broker.replication.disk_room import DiskRoom, ReserveSettings, too_many_full
from broker.replication.disk_watch import DiskWatch, DiskWatchSettings
from broker.storage import layout
from broker.storage.store import Batch, Store
from broker.telemetry import logs

_log = logs.get(__name__)

SLOW, FULL, STUCK = "disk-slow", "disk-full", "disk-stuck"
_DAMAGED = "damaged-"
MICROSECONDS = 1_000


class DiskSettings(msgspec.Struct, frozen=True):
    reserve: ReserveSettings = ReserveSettings()
    watch: DiskWatchSettings = DiskWatchSettings()


class Room(msgspec.Struct, frozen=True):
    """Bytes."""

    free: int
    total: int


class DiskDuty:
    def __init__(self, store: Store, me: NodeId, settings: DiskSettings, trouble: Trouble) -> None:
        self.trouble = trouble
        self.full_peers: frozenset[NodeId] = frozenset()
        """Of those that answer, the ones whose disks are nearly full."""
        self._store = store
        self._me = me
        self._watch = DiskWatch(settings.watch)
        self._room = DiskRoom(settings.reserve)
        self._stuck = False
        for number, why in store.set_aside.items():
            self._tell_set_aside(number, why)

    # --- verdicts

    @property
    def full(self) -> bool:
        return self._room.full

    @property
    def fit_to_lead(self) -> bool:
        return not (self._watch.slow or self._room.full or self._stuck)

    @property
    def states(self) -> dict[str, bool]:
        return {"slow": self._watch.slow, "full": self._room.full, "stuck": self._stuck}

    def expect_room(self, group: GroupId, voters: Iterable[NodeId]) -> None:
        """For more messages in this group. Raises DiskFull; what empties queues need not ask."""
        room = self._room
        if room.full:
            raise DiskFull(
                f"the disk of {self._me}, which leads group {group}, has {_mib(room.free)} free and keeps "
                f"{_mib(room.reserve)} for receives and deletes: nothing was sent. Receive and delete messages, or "
                "give the disk more room; then retry"
            )
        among = list(voters)
        full = sorted(self.full_peers.intersection(among))
        if full and too_many_full(len(among), len(full)):
            raise DiskFull(
                f"the disks of {', '.join(full)}, which hold group {group}, keep what they have left for receives and "
                "deletes: nothing was sent. Receive and delete messages, or give these disks more room; then retry"
            )

    # --- what happens

    def writing(self, now: Millis) -> None:
        self._watch.writing(now)

    def written(self, batch: Batch, now: Millis) -> None:
        self._watch.synced(Millis(batch.sync_microseconds // MICROSECONDS), now)
        if self._room.written(batch.size):
            self._tell_room()
        if self._stuck:
            self._stuck = False
            self.trouble.clear(STUCK)
            _log.info("the log can be written again")

    def refused(self, error: DiskFull) -> None:
        """The disk has no room even for the log; it will be tried again."""
        self._stuck = True
        if self.trouble.set(STUCK, f"{error}; nothing can be written until then, and nothing is lost"):
            _log.error("the log waits for room on the disk", reason=str(error))

    def report(self, damage: Iterable[tuple[GroupId, DataCorrupt]]) -> None:
        for group, error in damage:
            _log.error("a replica is damaged and has ended", group=group, reason=str(error))
            self._tell_damage()

    def look(self, now: Millis) -> None:
        """To be called about once a second. Asks nothing of the disk, which may hang."""
        if self._watch.judge(now):
            self._tell_speed()
        self._tell_damage()

    def measure(self) -> Room:
        """Blocking. Raises Unavailable when the data directory is not there any more: what is written goes into files
        that nobody will find again."""
        disk = self._store.disk
        if layout.MANIFEST not in disk.names(""):
            raise Unavailable(
                f"{layout.MANIFEST} is missing: the data directory was removed, emptied or unmounted under the running "
                "node; give it back, or let the node begin with an empty one"
            )
        return Room(disk.free_bytes(), disk.total_bytes())

    def measured(self, room: Room) -> None:
        if self._room.judge(room.free, room.total):
            self._tell_room()

    # --- telling

    def _tell_room(self) -> None:
        room = self._room
        if room.full:
            sentence = (
                f"the disk has {_mib(room.free)} free, less than its reserve of {_mib(room.reserve)}: it takes no more "
                "messages until they are received and deleted, or the disk gets more room"
            )
            self.trouble.set(FULL, sentence)
            _log.warning("disk nearly full", free=room.free, reserve=room.reserve)
        else:
            self.trouble.clear(FULL)
            _log.info("disk has room again", free=room.free, reserve=room.reserve)

    def _tell_speed(self) -> None:
        typical = self._watch.typical
        if self._watch.slow:
            sentence = f"the disk is slow: a sync takes {typical} ms, and others lead instead. See what else uses it"
            self.trouble.set(SLOW, sentence)
            _log.warning("disk slow", typical_ms=typical)
        else:
            self.trouble.clear(SLOW)
            _log.info("disk fast again", typical_ms=typical)

    def _tell_damage(self) -> None:
        """What was dropped since is no trouble any more."""
        prefix = f"{_DAMAGED}group-"
        wanted = {f"{prefix}{group}": (group, findings) for group, findings in self._store.damaged.items()}
        for name in self.trouble.names:
            if name.startswith(prefix) and name not in wanted:
                self.trouble.clear(name)
                _log.info("a damaged replica was replaced", group=name.removeprefix(prefix))
        for name, (group, findings) in wanted.items():
            more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
            sentence = (
                f"the replica of group {group} here is damaged ({findings[0]}{more}): it neither votes nor leads, and "
                "waits to be given anew by the others; what is left of it is kept until then"
            )
            if self.trouble.set(name, sentence):
                _log.error("damaged data", group=group, found=str(findings[0]), pieces=len(findings))

    def _tell_set_aside(self, number: int, why: str) -> None:
        sentence = (
            f"the data directory was damaged ({why}) and is kept as {layout.damaged_path(number)}; delete that and "
            f"{layout.damage_note(number)} when every group has all its replicas again"
        )
        self.trouble.set(f"{_DAMAGED}directory-{number}", sentence)
        _log.error("a damaged data directory is kept", path=layout.damaged_path(number), reason=why)


def _mib(size: int) -> str:
    return f"{size // MIB:,} MiB"

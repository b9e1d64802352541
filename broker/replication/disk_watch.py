"""Whether this node's disk is fast enough to lead: judges how long the syncs of the log take.

A group whose leader's disk is slow goes on, for two fast disks are a quorum; but what only the leader writes waits, and
so do reads of old entries. One slow sync means nothing: a snapshot is written, the machine is busy. So the verdict
needs several within a window, and to be taken back it needs a time in which nearly all were fast. Pure; the engine
tells it of every sync, and of one that does not end.
"""

from __future__ import annotations

from collections import deque

import msgspec

from broker.base.instants import SECOND, Millis


class DiskWatchSettings(msgspec.Struct, frozen=True):
    """Milliseconds. A disk is slow when half of the syncs within ``window`` took ``slow`` or longer; where these are
    fewer than ``least``, so many of those before count as well, if they are not older than ``memory``. It is well again
    when, of ``least`` or more within ``proof``, at most a tenth took longer than ``well``."""

    slow: Millis = Millis(100)
    well: Millis = Millis(50)
    window: Millis = Millis(2 * SECOND)
    least: int = 3
    memory: Millis = Millis(30 * SECOND)
    proof: Millis = Millis(15 * SECOND)
    forgive: Millis = Millis(120 * SECOND)
    """Without any sync for so long nothing is known any more, and the disk may show again what it can."""
    hanging: Millis = Millis(1 * SECOND)
    """A sync that has not ended after so long counts each time it is looked at."""


class DiskWatch:
    def __init__(self, settings: DiskWatchSettings | None = None) -> None:
        self._settings = settings or DiskWatchSettings()
        self._syncs: deque[tuple[Millis, Millis]] = deque()
        """When each ended, and how long it took."""
        self._since: Millis | None = None
        self._writing_since: Millis | None = None
        self._typical = Millis(0)

    @property
    def slow(self) -> bool:
        return self._since is not None

    @property
    def typical(self) -> Millis:
        """The median of the syncs on which the verdict rests; 0 without any."""
        return self._typical

    def writing(self, now: Millis) -> None:
        """A batch goes to the disk."""
        self._writing_since = now

    def synced(self, took: Millis, now: Millis) -> None:
        self._writing_since = None
        self._note(took, now)

    def judge(self, now: Millis) -> bool:
        """Whether the verdict is another one than before. To be called about once a second."""
        if self._writing_since is not None and now - self._writing_since >= self._settings.hanging:
            self._note(Millis(now - self._writing_since), now)
        recent = self._recent(now)
        self._typical = sorted(recent)[len(recent) // 2] if recent else Millis(0)
        was = self.slow
        if was:
            self._look_for_recovery(now)
        elif self._is_slow(recent):
            self._since = now
        return self.slow != was

    def _note(self, took: Millis, now: Millis) -> None:
        self._syncs.append((now, took))
        horizon = now - max(self._settings.memory, self._settings.proof)
        while self._syncs[0][0] < horizon:
            self._syncs.popleft()

    def _recent(self, now: Millis) -> list[Millis]:
        settings = self._settings
        recent = self._within(settings.window, now)
        return recent if len(recent) >= settings.least else self._within(settings.memory, now)[-settings.least :]

    def _is_slow(self, times: list[Millis]) -> bool:
        slow = sum(took >= self._settings.slow for took in times)
        return len(times) >= self._settings.least and 2 * slow >= len(times)

    def _look_for_recovery(self, now: Millis) -> None:
        settings = self._settings
        last = self._syncs[-1][0]
        if now - last >= settings.forgive:
            self._since = None
            self._syncs.clear()
            return
        times = self._within(settings.proof, now)
        late = sum(took > settings.well for took in times)
        proven = self._since is not None and now - self._since >= settings.proof
        if proven and len(times) >= settings.least and 10 * late <= len(times):
            self._since = None

    def _within(self, duration: Millis, now: Millis) -> list[Millis]:
        return [took for at, took in self._syncs if at > now - duration]

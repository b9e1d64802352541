"""What the probes of the admin port answer."""

from __future__ import annotations

from collections.abc import Callable

from broker.replication.groups import Groups
from broker.telemetry.admin import PLAIN_TEXT, Response


class Health:
    """Alive: the loop answers. Ready: every replica here knows a leader, the directory has content, and the node is not
    on its way out."""

    def __init__(self, groups: Groups, settled: Callable[[], bool]) -> None:
        self._groups = groups
        self._settled = settled
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def trouble(self) -> str | None:
        """Why the node is not ready, or None."""
        if self._stopping:
            return "stopping: leaderships are being handed over"
        leaderless = [str(status.group) for status in self._groups.status() if status.leader is None]
        if leaderless:
            return f"no leader is known of groups {', '.join(leaderless)}"
        return None if self._settled() else "the directory of the cluster has not been read yet"

    async def livez(self) -> Response:
        return 200, PLAIN_TEXT, b"ok\n"

    async def readyz(self) -> Response:
        trouble = self.trouble()
        return (200, PLAIN_TEXT, b"ok\n") if trouble is None else (503, PLAIN_TEXT, f"{trouble}\n".encode())

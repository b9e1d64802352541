"""Log lines that a stranger can provoke: each different one once a minute, and a count of the rest."""

from __future__ import annotations

import asyncio

from broker.telemetry.logs import Log

_WINDOW_SECONDS = 60.0
_MOST_DIFFERENT = 64


class Complaints:
    """Remembers what was said in this minute; bounded, whoever calls."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: set[tuple[str, str, str]] = set()
        self._held_back = 0
        self._timer: asyncio.TimerHandle | None = None

    def say(self, event: str, reason: str, *, peer: str = "unknown", remote: str) -> None:
        """A warning, unless the same was said of the same peer lately, or too many different ones were."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._next_window)
        key = (event, reason, peer)
        if key in self._said or len(self._said) >= _MOST_DIFFERENT:
            self._held_back += 1
            return
        self._said.add(key)
        self._log.warning(event, peer=peer, reason=reason, remote=remote)

    def close(self) -> None:
        """Says what is left to say."""
        if self._timer is not None:
            self._timer.cancel()
        self._next_window()

    def _next_window(self) -> None:
        self._timer = None
        self._said.clear()
        if self._held_back:
            self._log.warning("more complaints about connections, alike or too many", count=self._held_back)
            self._held_back = 0

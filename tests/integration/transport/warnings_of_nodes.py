"""What nodes warn of, for tests to wait for."""

from __future__ import annotations

import asyncio
import logging

from tests.integration.transport.loopback_mesh import PATIENCE


class Warned(logging.Handler):
    """Keeps the reasons that are logged, by node, and lets a test wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        self._rows.append((str(fields.get("node")), str(fields.get("reason"))))
        self._changed.set()

    def reasons(self, node: str) -> list[str]:
        return [reason for speaker, reason in self._rows if speaker == node]

    async def until(self, node: str, words: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(words in reason for reason in self.reasons(node)):
                self._changed.clear()
                await self._changed.wait()

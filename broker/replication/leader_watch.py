"""Who waits for news about a group's leader. Whoever gives up is forgotten at once, however long the news stay away."""

from __future__ import annotations

import asyncio

from broker.base.ids import GroupId


class LeaderWatch:
    def __init__(self) -> None:
        self._waiting: dict[GroupId, dict[asyncio.Future[None], None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def news(self, group: GroupId) -> None:
        """Until there are some."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(group, {})
        waiting[future] = None
        try:
            await future
        finally:
            waiting.pop(future, None)

    def tell(self, group: GroupId) -> None:
        for waiter in self._waiting.pop(group, {}):
            if not waiter.done():
                waiter.set_result(None)

    def tell_all(self) -> None:
        for group in list(self._waiting):
            self.tell(group)

"""What a simulated process does beside its turns: it gives room back in its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from broker.base.errors import DataCorrupt
from broker.base.ids import GroupId
from broker.storage.damage import Damaged
from broker.storage.store import Store
from tests.simulation.world import MILLISECOND, SECOND

_EVERY = 2 * SECOND
_STEP = 64 * 1024


class Kept(Protocol):
    @property
    def store(self) -> Store: ...
    def work(self, delay: int, act: Callable[..., None], *arguments: Any) -> None: ...
    def damage_found(self, group: GroupId, error: DataCorrupt) -> None: ...
    def soon(self) -> None: ...


class Housekeeping:
    def __init__(self, node: Kept, counts: Counter[str]) -> None:
        self._node = node
        self._counts = counts

    def start(self) -> None:
        self._node.work(_EVERY, self._compact)

    def _compact(self) -> None:
        if self._step():
            self._counts["compaction step"] += 1
            self._node.work(20 * MILLISECOND, self._compact)
        else:
            self._node.work(_EVERY, self._compact)
        self._node.soon()

    def _step(self) -> bool:
        try:
            return self._node.store.compaction_step(_STEP)
        except Damaged as error:
            if error.finding.group is None:
                raise
            self._node.damage_found(GroupId(error.finding.group), error)
            return False

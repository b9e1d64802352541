"""State machine safety (paper figure 3): what one replica applied at an index, all replicas apply there, for ever."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.simulation.checkers.violation import Violation


class Application(NamedTuple):
    data: bytes
    reply: Any
    effects: tuple[Any, ...]
    node: str


class CommittedUnchanged:
    name = "committed entries are never lost or changed"

    def __init__(self) -> None:
        self._history: dict[int, dict[int, Application]] = {}
        self._head: dict[int, int] = {}

    def head(self, group: int) -> int:
        """The highest index at which any replica applied a command."""
        return self._head.get(group, 0)

    def applied(self, group: int, index: int, now: Application) -> bool:
        """True if no replica had applied at this index before."""
        history = self._history.setdefault(group, {})
        before = history.get(index)
        if before is None:
            if index <= self.head(group):
                raise Violation(
                    self.name,
                    f"{now.node} applied entry {index} of group {group}, which replicas that applied up to "
                    f"{self.head(group)} never saw",
                )
            history[index] = now
            self._head[group] = index
            return True
        if before.data != now.data:
            raise Violation(
                self.name,
                f"entry {index} of group {group} was applied by {before.node} and is another one on {now.node}",
            )
        if before.reply != now.reply or before.effects != now.effects:
            raise Violation(
                MachinesIdentical.name,
                f"entry {index} of group {group}: {before.node} replied {before.reply} {before.effects}, {now.node} "
                f"replied {now.reply} {now.effects}",
            )
        return False


class MachinesIdentical:
    """Dumps of one group at one index are equal bytes, whoever made them and however it got there."""

    name = "machines are identical at equal index"

    def __init__(self) -> None:
        self._dumps: dict[tuple[int, int], tuple[str, bytes]] = {}
        self.compared = 0

    def dumped(self, node: str, group: int, index: int, dump: bytes) -> None:
        other, known = self._dumps.setdefault((group, index), (node, dump))
        if known != dump:
            raise Violation(
                self.name,
                f"group {group} at {index}: the dumps of {other} ({len(known)} bytes) and {node} ({len(dump)} bytes) "
                "differ",
            )
        self.compared += other != node

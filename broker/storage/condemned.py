"""Groups whose data on this disk is damaged: none of it is used and none of it goes, until the group is dropped.

Should all replicas of a group be damaged, what each of them still has may be all that there is. So the segments that
were there when the damage was found are kept as they are.
"""

from __future__ import annotations

from collections import Counter

from broker.storage.damage import Finding


class Condemned:
    def __init__(self) -> None:
        self.groups: dict[int, list[Finding]] = {}
        self.counts: Counter[str] = Counter()
        """Pieces of damage found since the start, by kind."""
        self._upto: dict[int, int] = {}
        """By group: the last segment that may hold anything of it."""

    @property
    def held_upto(self) -> int:
        """Segments up to this one are neither emptied nor freed."""
        return max(self._upto.values(), default=0)

    def add(self, group: int, findings: list[Finding], segment: int) -> None:
        self.groups.setdefault(group, []).extend(findings)
        self.counts.update(finding.kind for finding in findings)
        self._upto[group] = segment

    def drop(self, group: int) -> None:
        self.groups.pop(group, None)
        self._upto.pop(group, None)

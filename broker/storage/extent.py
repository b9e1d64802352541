"""How far damage reaches that was found while the log was read: which groups, and which of their entries.

A damaged record that nothing refers to any more, because its entry was cut off, dropped or copied since, is no loss.
"""

from __future__ import annotations

from broker.storage.books import Books
from broker.storage.damage import Finding

_TOLD = 20
"""Findings told of one group: more of them would say nothing new."""


class Extent:
    def __init__(self) -> None:
        self._entries: dict[int, list[tuple[int, Finding]]] = {}
        """By group: location of an entry's record, and what is wrong with it."""
        self._notes: dict[int, list[Finding]] = {}

    def entry(self, group: int, location: int, finding: Finding) -> None:
        self._entries.setdefault(group, []).append((location, finding))

    def note(self, group: int, finding: Finding) -> None:
        """What the group's state depends on."""
        self._notes.setdefault(group, []).append(finding)

    def reaches(self, group: int) -> bool:
        """As far as the log has been read."""
        return group in self._notes or group in self._entries

    def forget(self, group: int) -> None:
        """The group was dropped: what comes of it is another life."""
        self._entries.pop(group, None)
        self._notes.pop(group, None)

    def findings(self, books: Books) -> dict[int, list[Finding]]:
        """What counts at the end of the log, by group."""
        found = {group: list(notes) for group, notes in self._notes.items()}
        for group, entries in self._entries.items():
            book = books.groups.get(group)
            for location, finding in entries:
                if book is None or finding.index is None or book.index.find(finding.index) == location:
                    found.setdefault(group, []).append(finding)
        return {group: findings[:_TOLD] for group, findings in sorted(found.items())}

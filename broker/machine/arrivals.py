"""What has arrived from the outboxes of other groups: so that what comes again is not taken in again.

A source sends in the order of its numbers and never skips one that was not answered, so the highest number that came
tells all that came. Refusals are remembered until the source has taken note of them: a repeated question gets the first
answer. Knows nothing of what arrives.
"""

from __future__ import annotations

from broker.base.errors import Refusal
from broker.base.ids import GroupId


class Arrivals:
    __slots__ = ("highest", "refused")

    def __init__(self) -> None:
        self.highest: dict[GroupId, int] = {}
        self.refused: dict[GroupId, dict[int, Refusal]] = {}

    def seen(self, source: GroupId, number: int) -> bool:
        """Whether it came before, whatever became of it."""
        return number <= self.highest.get(source, 0)

    def refusal_of(self, source: GroupId, number: int) -> Refusal | None:
        """Of one that came before; None: it was taken in."""
        return self.refused.get(source, {}).get(number)

    def note(self, source: GroupId, number: int, refusal: Refusal | None) -> None:
        """It came for the first time; numbers of a source ascend from call to call."""
        self.highest[source] = number
        if refusal is not None:
            self.refused.setdefault(source, {})[number] = refusal

    def settle(self, source: GroupId, below: int) -> None:
        """The source will never ask again about numbers below this one."""
        refused = self.refused.get(source)
        if refused:
            kept = {number: refusal for number, refusal in refused.items() if number >= below}
            if kept:
                self.refused[source] = kept
            else:
                del self.refused[source]

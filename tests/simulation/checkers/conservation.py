"""Messages as clients know them: none is lost, doubled, invented or altered."""

from __future__ import annotations

from tests.simulation.checkers.violation import Violation

Birth = tuple[int, int, int]
"""Group, log index and slot: where a message was born."""


class Conservation:
    name = "every acknowledged message is received or still present"

    def __init__(self) -> None:
        self._sent: dict[bytes, str] = {}
        self._acknowledged: dict[bytes, Birth] = {}
        self._received: dict[bytes, Birth] = {}
        self._excused: set[str] = set()
        self.deliveries = 0

    def excuse(self, queue: str) -> None:
        """The queue was purged or deleted: what was sent to it may be gone."""
        self._excused.add(queue)

    def sent(self, queue: str, bodies: list[bytes]) -> None:
        for body in bodies:
            self._sent[body] = queue

    def acknowledged(self, bodies: list[bytes], group: int, index: int) -> None:
        for slot, body in enumerate(bodies):
            self._acknowledged[body] = (group, index, slot)
            self._same_birth(body, (group, index, slot), "acknowledged")

    def received(self, queue: str, body: bytes | None, birth: Birth) -> None:
        self.deliveries += 1
        if body is None:
            raise Violation(self.name, f"message {birth} of {queue} was delivered, but its body is not in the log")
        if self._sent.get(body) != queue:
            raise Violation(
                "no message appears that nobody sent",
                f"{queue} delivered {body[:60]!r} as {birth}; sent there: {self._sent.get(body)}",
            )
        self._received.setdefault(body, birth)
        self._same_birth(body, birth, "delivered")

    def all_drained(self) -> None:
        """Every queue has been emptied by receiving and deleting: what was acknowledged must have been seen."""
        missing = [
            (body, birth)
            for body, birth in self._acknowledged.items()
            if body not in self._received and self._sent[body] not in self._excused
        ]
        if missing:
            body, birth = missing[0]
            raise Violation(
                self.name,
                f"{len(missing)} of {len(self._acknowledged)} acknowledged messages were never received; the first is "
                f"{body[:60]!r}, acknowledged as {birth} of {self._sent[body]}",
            )

    def _same_birth(self, body: bytes, birth: Birth, how: str) -> None:
        for known in (self._acknowledged.get(body), self._received.get(body)):
            if known is not None and known != birth:
                raise Violation(
                    "a message sent once exists once",
                    f"{body[:60]!r} was born at {known} and {how} at {birth} as well",
                )

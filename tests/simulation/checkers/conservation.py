"""Messages as clients know them: none is lost, doubled, invented or altered."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.checkers.violation import Violation

Birth = tuple[int, tuple[int, int]]
"""Group, and log index and slot there: where a message was born."""


class Conservation:
    """``birth_of`` tells of a message that was moved where it was born; of others it is where they are."""

    name = "every acknowledged message is received or still present"

    def __init__(self, birth_of: Callable[[Birth], Birth]) -> None:
        self._birth_of = birth_of
        self._sent: dict[bytes, str] = {}
        self._acknowledged: dict[bytes, Birth] = {}
        self._received: dict[bytes, Birth] = {}
        self._cancelled: set[bytes] = set()
        self._excused_queues: set[str] = set()
        self._excused: set[bytes] = set()
        self._repeating: set[str] = set()
        self.deliveries = 0

    def excuse_queue(self, queue: str) -> None:
        """What was sent to it may be gone: it, or where its messages are moved to, was purged, deleted or expired."""
        self._excused_queues.add(queue)

    def excuse(self, bodies: list[bytes]) -> None:
        """They may be gone unseen: their life is short, or somebody tries to withdraw them."""
        self._excused.update(bodies)

    def may_repeat(self, queue: str) -> None:
        """Bodies are sent to it again after so long that they are new messages."""
        self._repeating.add(queue)

    def sent(self, queue: str, bodies: list[bytes]) -> None:
        for body in bodies:
            self._sent[body] = queue

    def acknowledged(self, body: bytes, birth: Birth) -> None:
        self._acknowledged[body] = birth
        self._same_birth(body, birth, "acknowledged")

    def cancelled(self, body: bytes) -> None:
        """It was withdrawn, as its sender was told."""
        self._cancelled.add(body)
        self._never_came(body)

    def received(self, queue: str, body: bytes | None, place: Birth) -> None:
        """``place``: where it was when ``queue`` delivered it."""
        self.deliveries += 1
        if body is None:
            raise Violation(self.name, f"message {place} of {queue} was delivered, but its body is not in the log")
        birth = self._birth_of(place)
        if body not in self._sent or (birth == place and self._sent[body] != queue):
            raise Violation(
                "no message appears that nobody sent",
                f"{queue} delivered {body[:60]!r} as {place}, born as {birth}; sent to: {self._sent.get(body)}",
            )
        self._received.setdefault(body, birth)
        self._same_birth(body, birth, "delivered")
        if body in self._cancelled:
            self._never_came(body)

    def all_drained(self) -> None:
        """Every queue has been emptied by receiving and deleting: what was acknowledged must have been seen."""
        missing = [
            (body, birth)
            for body, birth in self._acknowledged.items()
            if body not in self._received and body not in self._excused and self._sent[body] not in self._excused_queues
        ]
        if missing:
            body, birth = missing[0]
            raise Violation(
                self.name,
                f"{len(missing)} of {len(self._acknowledged)} acknowledged messages were never received; the first is "
                f"{body[:60]!r}, acknowledged as {birth} of {self._sent[body]}",
            )

    def _never_came(self, body: bytes) -> None:
        if body in self._received:
            raise Violation(
                "a cancelled message is never delivered",
                f"{body[:60]!r} was withdrawn from {self._sent[body]}, and delivered as {self._received[body]}",
            )

    def _same_birth(self, body: bytes, birth: Birth, how: str) -> None:
        if self._sent[body] in self._repeating:
            return
        for known in (self._acknowledged.get(body), self._received.get(body)):
            if known is not None and known != birth:
                raise Violation(
                    "a message sent once exists once",
                    f"{body[:60]!r} was born at {known} and {how} at {birth} as well",
                )

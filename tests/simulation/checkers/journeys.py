"""Messages on their way from one queue to another, over all groups: none is lost, doubled, altered or sent astray.

Every message that leaves has a journey. It ends at the far side or back at the source, never at both or neither, and
whoever asks the far side again gets the first answer.
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId, MessageId
from broker.domain.queues import commands, model, questions
from tests.simulation.checkers.model_queue import Held, Key
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation

_messages = msgspec.msgpack.Decoder(list[model.Message])

Place = tuple[int, Key]
"""Group, and which message there."""


class Journey(msgspec.Struct):
    """``arrived``: where. ``refused``: the far side said no; ``ended``: the source has taken note."""

    source: int
    parcel: questions.Parcel
    deduplication: str
    dead: bool
    arrived: Place | None = None
    refused: bool = False
    ended: bool = False


class NothingLostOnTheWay:
    name = "a message on its way is neither lost nor doubled"
    altered = "a message arrives as it left"

    def __init__(self) -> None:
        self._journeys: dict[tuple[int, int], Journey] = {}
        """By source group and number."""
        self._before: dict[Place, Place] = {}
        """Where a message was that came from another queue."""
        self._contents: dict[tuple[int, int], msgspec.Raw] = {}
        """The messages that an entry brought, encoded; by group and index."""

    def brought(self, group: int, index: int, messages: msgspec.Raw) -> None:
        self._contents[group, index] = messages

    def birth(self, place: Place) -> Place:
        """Where the message was sent that is here now."""
        while place in self._before:
            place = self._before[place]
        return place

    def journey(self, source: int, number: int) -> Journey | None:
        return self._journeys.get((source, number))

    def departed(self, source: int, parcel: questions.Parcel, held: Held, dead: bool) -> None:
        self._journeys[source, parcel.number] = Journey(source, parcel, held.deduplication, dead)

    # --- the far side

    def came(self, far: QueueModel, command: commands.Arrive, reply: commands.Arrived, index: int) -> int:
        """Before the picture follows. How many had come before."""
        refused = dict(reply.refused)
        settled = max(command.settled, far.settled.get(command.source, 0))
        repeated = 0
        for slot, arrival in enumerate(command.arrivals):
            identity = (command.source, arrival.number)
            refusal = refused.get(arrival.number)
            if identity not in far.answers:
                self._first_time(far, arrival, command.source, refusal, (index, slot))
                continue
            repeated += 1
            first = far.answers[identity]
            if refusal != first and arrival.number >= settled:
                raise Violation(
                    self.name,
                    f"parcel {arrival.number} of group {command.source} came again to group {far.group} in entry "
                    f"{index} and was answered {refusal}; the first answer was {first}",
                )
        return repeated

    def _first_time(
        self, far: QueueModel, arrival: commands.Arrival, source: int, refusal: Refusal | None, key: Key
    ) -> None:
        journey = self._journeys.get((source, arrival.number))
        story = f"parcel {arrival.number} of group {source} came to queue {arrival.queue} of group {far.group} as {key}"
        if journey is None:
            raise Violation(self.name, f"{story}; nothing of that number ever left")
        if arrival.number < far.highest.get(source, 0):
            raise Violation(self.name, f"{story}, after number {far.highest[source]}: it passes for one that came")
        if refusal is not None:
            journey.refused = True
            return
        if arrival.queue not in far.queues:
            raise Violation(self.name, f"{story} and was taken in, but there is no such queue")
        if journey.arrived is not None or journey.ended:
            raise Violation(self.name, f"{story}; it is {journey.arrived or 'back where it came from'} already")
        self._unaltered(far.group, journey, arrival, key, story)
        journey.arrived = (far.group, key)
        self._before[journey.arrived] = self._place(journey)

    def _unaltered(self, group: int, journey: Journey, arrival: commands.Arrival, key: Key, story: str) -> None:
        parcel = journey.parcel
        before, after = self._message(self._place(journey)), self._message((group, key))
        if (before.body, before.attributes) != (after.body, after.attributes):
            raise Violation(self.altered, f"{story} with {after.body[:60]!r}, it left with {before.body[:60]!r}")
        if (arrival.group, arrival.deduplication, arrival.size) != (
            parcel.group,
            journey.deduplication,
            before.size(),
        ):
            raise Violation(self.altered, f"{story} as {arrival}; it left as {parcel}, {journey.deduplication}")
        target, origin = parcel.destination, after.origin
        if target is None:
            home = before.origin
            if home is None or (home.id, home.group, origin) != (arrival.queue, group, None):
                raise Violation(self.altered, f"{story} with origin {origin}, to be taken home to {home}")
            return
        left = MessageId(journey.source, parcel.index, parcel.slot).to_bytes()
        expected = (parcel.name, parcel.queue, left, parcel.sent_at, parcel.receive_count)
        told = origin and (origin.queue, origin.id, origin.message, origin.sent_at, origin.receive_count)
        if (arrival.queue, group) != (target.id, _stripe(target, arrival.group)) or told != expected:
            raise Violation(self.altered, f"{story} with origin {origin}; it left for {target}, from {expected}")

    # --- back at the source

    def shipped(self, near: QueueModel, command: commands.Shipped) -> None:
        """Before the picture follows."""
        for number in command.accepted:
            journey = self._of_outbox(near, number)
            if journey is not None and journey.arrived is None:
                raise Violation(
                    self.name,
                    f"parcel {number} of group {near.group} was noted as taken in, but has arrived nowhere "
                    f"({'it was refused' if journey.refused else 'nobody was asked'}): lost",
                )
        for number, refusal in command.returned:
            journey = self._of_outbox(near, number)
            if journey is not None and journey.arrived is not None:
                raise Violation(
                    self.name,
                    f"parcel {number} of group {near.group} goes back to its queue ({refusal.code}), but is at "
                    f"{journey.arrived} too",
                )

    def all_ended(self, models: list[QueueModel]) -> None:
        """When nothing is on its way any more."""
        for near in models:
            if near.outbox:
                raise Violation(self.name, f"parcels {list(near.outbox)} of group {near.group} never got anywhere")
        for (source, number), journey in self._journeys.items():
            if not journey.ended:
                raise Violation(self.name, f"parcel {number} of group {source} left the outbox unheard: lost")

    def _of_outbox(self, near: QueueModel, number: int) -> Journey | None:
        if number not in near.outbox:
            return None
        journey = self._journeys[near.group, number]
        journey.ended = True
        return journey

    def _place(self, journey: Journey) -> Place:
        return journey.source, (journey.parcel.index, journey.parcel.slot)

    def _message(self, place: Place) -> model.Message:
        group, (index, slot) = place
        return _messages.decode(self._contents[GroupId(group), index])[slot]


def _stripe(target: model.Target, message_group: str) -> int:
    """Of a FIFO queue each message group has its own, for the sake of order; of a standard queue it is the first."""
    if not model.is_fifo(target.name):
        return target.groups[0]
    return target.groups[crc32(message_group.encode()) % len(target.groups)]

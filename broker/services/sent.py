"""What became of a batch that was sent: how many were stored, under which ids, and why not the others.

Ids are made when they are asked for: whoever sends streams of messages counts them and asks for the first one only.
This room must not know how the messages were stored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import MessageId, id_text
from broker.domain.queues.keys import SLOT_BITS, SLOT_MASK, message_key
from broker.services.outgoing import Outgoing
from broker.services.replies import Failures
from broker.services.sending import SendAnswer


class Part(msgspec.Struct, frozen=True):
    """What one group answered. ``places``: positions in the caller's batch of the messages that it was given,
    ascending, None: as they were. ``slot``: of the first message, when others went before it in the same entry."""

    answer: SendAnswer
    places: Sequence[int] | None
    slot: int = 0

    def stored(self) -> Iterator[tuple[int, int]]:
        """(position in the caller's batch, key) of each message; of a duplicate, the key of the first one."""
        answer = self.answer
        refused = {place for place, _ in answer.refused}
        first = dict(answer.duplicates)
        slot = 0
        for position in range(answer.count + len(refused)):
            if position not in refused:
                yield self.place(position), first.get(slot, message_key(answer.index, self.slot + slot))
                slot += 1

    def place(self, position: int) -> int:
        return position if self.places is None else self.places[position]

    def within(self, places: Sequence[int] | None) -> Part:
        """Of a batch that is the part at ``places`` of a larger one, None: all of it: in positions of that one."""
        if places is None:
            return self
        own = places if self.places is None else [places[place] for place in self.places]
        return Part(self.answer, own, self.slot)

    def between(self, start: int, end: int) -> Part | None:
        """What belongs to the positions from ``start`` to before ``end``, as of a batch of its own; None when nothing
        does."""
        answer, places = self.answer, self.places
        if places is not None:
            start, end, first = bisect_left(places, start), bisect_left(places, end), start
            places = [place - first for place in places[start:end]]
            if not places:
                return None
        if not answer.refused and not answer.duplicates:
            own = SendAnswer(answer.group, answer.index, end - start, answer.at)
            return Part(own, places, self.slot + start)
        refused = tuple((place - start, refusal) for place, refusal in answer.refused if start <= place < end)
        skipped = start - sum(place < start for place, _ in answer.refused)
        count = end - start - len(refused)
        duplicates = tuple((slot - skipped, key) for slot, key in answer.duplicates if 0 <= slot - skipped < count)
        own = SendAnswer(answer.group, answer.index, count, answer.at, refused, duplicates)
        return Part(own, places, self.slot + skipped)


class SendResult(msgspec.Struct, frozen=True):
    """``size``: messages in the batch. ``accepted``: those not ``refused``, duplicates of earlier ones included."""

    size: int
    fifo: bool
    parts: tuple[Part, ...]
    refused: Failures

    @property
    def accepted(self) -> int:
        return self.size - len(self.refused)

    @property
    def first(self) -> MessageId | None:
        """Of the accepted messages when their ids are consecutive, in the order of the batch: the ordinary case."""
        if not self.accepted or len(self.parts) != 1 or self.parts[0].answer.duplicates:
            return None
        part = self.parts[0]
        return MessageId(part.answer.group, part.answer.index, part.slot)

    def message_ids(self) -> list[bytes]:
        """16 bytes for each message of the batch, none where it was refused; of a duplicate, the first one's."""
        ids = [b""] * self.size
        for part in self.parts:
            group = part.answer.group
            for place, key in part.stored():
                ids[place] = MessageId(group, key >> SLOT_BITS, key & SLOT_MASK).to_bytes()
        return ids

    def id_texts(self) -> list[str]:
        """As ``message_ids``, written out; "" where it was refused."""
        first = self.first
        if first is not None and not self.refused:
            return first.texts(self.size)
        return [id_text(raw) if raw else "" for raw in self.message_ids()]

    def sequence_numbers(self) -> list[int]:
        """Of a FIFO queue, one for each message of the batch, 0 where it was refused; of others, none at all."""
        if not self.fifo:
            return []
        numbers = [0] * self.size
        for part in self.parts:
            for place, key in part.stored():
                numbers[place] = key
        return numbers


def sent(outgoing: Outgoing, fifo: bool, parts: Sequence[Part]) -> SendResult:
    """``parts`` hold what was packed in ``outgoing``; their places are positions in the caller's batch."""
    refused: list[tuple[int, Refusal]] = list(outgoing.refused)
    for part in parts:
        refused += [(part.place(position), refusal) for position, refusal in part.answer.refused]
    size = len(outgoing.refused) + len(outgoing.packed.sizes)
    return SendResult(size, fifo, tuple(parts), tuple(sorted(refused)) if refused else ())

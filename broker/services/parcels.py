"""Messages as the courier carries them: where each one goes, what it says there of where it came from, and in which
command. Implements carrying.Cargo for the queues of one group.

Read where that group is led. This room must not know when anything is carried, nor how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from broker.base.errors import DataCorrupt, NotDeadLetterQueue, QueueNotFound, Refusal
from broker.base.ids import GroupId, MessageId, QueueId
from broker.base.limits import MIB
from broker.domain.queues.commands import Arrival, Arrive, Refused
from broker.domain.queues.model import Described, Message, Origin, Target, is_fifo
from broker.domain.queues.questions import AttributesOf, Leaving, Parcel
from broker.services.carrying import Address, Nowhere, Packed
from broker.services.contents import Contents
from broker.services.striping import stripe_of_message_group

ARRIVE_SIZE = 3 * MIB
"""Bytes of messages in one command, unless the first alone has more."""
READ_SIZE = 8 * MIB
"""Bytes of entries read for one command. A message is read with all that were sent with it, so that a few dead letters
of large batches would hold up whoever sends and receives here."""

Ask = Callable[[Any], Any]
"""Puts a question to the group's machine, as it is here. Raises NotLeader."""

_encoder = msgspec.msgpack.Encoder()


class QueueParcels:
    def __init__(self, group: GroupId, ask: Ask, contents: Contents) -> None:
        self._group = group
        self._ask = ask
        self._contents = contents

    def leaving(self, after: int, limit: int) -> Sequence[Parcel]:
        parcels: tuple[Parcel, ...] = self._ask(Leaving(after, limit))
        return parcels

    def address(self, item: Parcel) -> Address | Nowhere:
        target = item.destination
        if target is not None:
            return Address(stripe(target, item.group))
        message, _, read = self._content(item)
        if message.origin is None:
            refusal = Refusal(
                NotDeadLetterQueue.code,
                f"message {MessageId(self._group, item.index, item.slot)} was sent to queue {item.name!r} itself and "
                "not moved there, so there is nowhere to move it back to: name a destination",
            )
            return Nowhere(refusal, read)
        return Address(message.origin.group, read)

    def pack(self, items: Sequence[Parcel], settled: int) -> Packed:
        arrivals: list[Arrival] = []
        messages: list[Message] = []
        homes: dict[QueueId, GroupId] = {}
        total = read = 0
        for item in items:
            if read >= READ_SIZE:
                break
            try:
                message, deduplication, newly_read = self._content(item)
            except DataCorrupt:
                if messages:
                    break
                raise
            read += newly_read
            size = message.size()
            if messages and total + size > ARRIVE_SIZE:
                break
            total += size
            queue, origin = self._whereto(item, message, homes)
            arrivals.append(Arrival(item.number, queue, size, item.group, deduplication))
            messages.append(Message(message.body, message.attributes, origin, message.trace))
        command = Arrive(self._group, settled, tuple(arrivals), msgspec.Raw(_encoder.encode(messages)))
        return Packed(command, len(messages))

    def _content(self, item: Parcel) -> tuple[Message, str, int]:
        """The message, its deduplication id or "", and how many bytes had to be read. Raises DataCorrupt."""
        kept = self._contents.keeps(self._group, item.index)
        content = self._contents.of_entry(self._group, item.index)
        if content is None:
            raise DataCorrupt(
                f"message {MessageId(self._group, item.index, item.slot)} on its way out of queue {item.name!r} is "
                f"not in the log: entry {item.index} of group {self._group} is gone"
            )
        return content.messages[item.slot], content.deduplication_of(item.slot), 0 if kept else content.size

    def _whereto(self, item: Parcel, message: Message, homes: dict[QueueId, GroupId]) -> tuple[QueueId, Origin | None]:
        """The queue it goes to, and what it says there of where it came from: nothing when it comes home."""
        if item.destination is None:
            assert message.origin is not None  # or it would have had no address
            return message.origin.id, None
        if item.queue not in homes:
            homes[item.queue] = self._home(item)
        there = MessageId(self._group, item.index, item.slot).to_bytes()
        origin = Origin(item.name, item.queue, homes[item.queue], there, item.sent_at, item.receive_count)
        return item.destination.id, origin

    def _home(self, item: Parcel) -> GroupId:
        """Where a message goes that is moved back: of a FIFO queue, to the stripe that has its message group; of a
        standard queue, to the one that stays when others are removed."""
        if is_fifo(item.name):
            return self._group
        described: Described | Refused = self._ask(AttributesOf(item.queue))
        if isinstance(described, Refused) or not described.groups:
            return self._group
        return described.groups[0]


def stripe(target: Target, message_group: str) -> GroupId:
    """Of a FIFO queue, the one that its message group belongs to; of a standard queue, the home group."""
    return stripe_of_message_group(target.groups, message_group) if is_fifo(target.name) else target.groups[0]


def stale(item: Parcel, refusal: Refusal) -> Target | None:
    """The destination that is not where it was found, and may be there again under its name."""
    return item.destination if refusal.code == QueueNotFound.code else None

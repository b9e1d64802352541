"""Messages on their way in, packed once: the form in which they travel to the leader and are stored in the log.

What can be judged without knowing the queue is judged here, message by message, so that a bad one costs the others
nothing. Reading a request and packing it is all the work that is done per message before the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from broker.base.errors import CallerError, InvalidArgument, Refusal
from broker.base.limits import MAX_MESSAGE_SIZE
from broker.domain.queues.message_validation import (
    check_deduplication,
    check_lifetime,
    check_message,
    check_message_group,
)
from broker.domain.queues.model import Message
from broker.domain.queues.validation import check_batch, check_delay
from broker.services.replies import Failures

_encoder = msgspec.msgpack.Encoder()
_raw_array = msgspec.msgpack.Decoder(list[msgspec.Raw])
_Item = TypeVar("_Item")


class OutgoingMessage(msgspec.Struct, frozen=True):
    """``delay`` in milliseconds, None: the queue's. ``due``: instant before which it is invisible, 0: none.
    ``lifetime`` in milliseconds, 0: the queue's retention. ``group``, ``deduplication``: "" for none."""

    message: Message
    delay: int | None = None
    group: str = ""
    deduplication: str = ""
    due: int = 0
    lifetime: int = 0


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """``messages`` is an encoded array; ``sizes`` counts each one's bytes. Of the others each message has one, as
    OutgoingMessage says, or None stands for none at all."""

    sizes: list[int]
    delays: list[int | None] | None
    messages: msgspec.Raw
    groups: list[str] | None = None
    deduplication: list[str] | None = None
    due: list[int] | None = None
    lifetimes: list[int] | None = None

    @property
    def special(self) -> bool:
        """Some message has more than its body and attributes."""
        return (self.delays or self.groups or self.deduplication or self.due or self.lifetimes) is not None

    @property
    def ordinary(self) -> bool:
        """Nothing but bodies, delays and message groups: any standard queue takes it, if it is not too long."""
        return self.deduplication is None and self.due is None and self.lifetimes is None

    def selected(self, places: Sequence[int]) -> Packed:
        """The messages at these positions, in this order, as they are encoded."""
        messages = _raw_array.decode(self.messages)
        return Packed(
            [self.sizes[place] for place in places],
            _given(_selected(self.delays, places), None),
            msgspec.Raw(_encoder.encode([messages[place] for place in places])),
            _given(_selected(self.groups, places), ""),
            _given(_selected(self.deduplication, places), ""),
            _given(_selected(self.due, places), 0),
            _given(_selected(self.lifetimes, places), 0),
        )


class Outgoing(msgspec.Struct, frozen=True):
    """One batch. ``places`` are the positions in the caller's batch of those packed, None when that is all of them;
    ``refused`` the others, with the reason."""

    packed: Packed
    places: list[int] | None = None
    refused: Failures = ()


def pack_bodies(bodies: Sequence[bytes]) -> Outgoing:
    """Messages without attributes and with the queue's delay: the fast way.

    Raises BatchEmpty, BatchTooLarge.
    """
    sizes = list(map(len, bodies))
    check_batch(len(sizes), sum(sizes))
    return Outgoing(Packed(sizes, None, msgspec.Raw(_encoder.encode([(body, ()) for body in bodies]))))


def pack(messages: Sequence[OutgoingMessage]) -> Outgoing:
    """Raises BatchEmpty, BatchTooLarge."""
    check_batch(len(messages), sum(each.message.size() for each in messages))
    sizes: list[int] = []
    good: list[OutgoingMessage] = []
    places: list[int] = []
    refused: list[tuple[int, Refusal]] = []
    for place, each in enumerate(messages):
        try:
            _check(each)
            sizes.append(check_message(each.message, MAX_MESSAGE_SIZE))
        except CallerError as error:
            refused.append((place, Refusal.of(error)))
        else:
            good.append(each)
            places.append(place)
    packed = Packed(
        sizes,
        _given([each.delay for each in good], None),
        msgspec.Raw(_encoder.encode([each.message for each in good])),
        _given([each.group for each in good], ""),
        _given([each.deduplication for each in good], ""),
        _given([each.due for each in good], 0),
        _given([each.lifetime for each in good], 0),
    )
    return Outgoing(packed, places if refused else None, tuple(refused))


def joined(parts: Sequence[Packed]) -> Packed:
    """One batch of the messages of all, in order, as they are encoded."""
    if len(parts) == 1:
        return parts[0]
    sizes: list[int] = []
    for part in parts:
        sizes += part.sizes
    elements = [memoryview(part.messages)[_head_length(len(part.sizes)) :] for part in parts]
    messages = msgspec.Raw(b"".join([_array_head(len(sizes)), *elements]))
    if not any(part.special for part in parts):  # the ordinary case pays for nothing else
        return Packed(sizes, None, messages)
    return Packed(
        sizes,
        _joined([(part.delays, len(part.sizes)) for part in parts], None),
        messages,
        _joined([(part.groups, len(part.sizes)) for part in parts], ""),
        _joined([(part.deduplication, len(part.sizes)) for part in parts], ""),
        _joined([(part.due, len(part.sizes)) for part in parts], 0),
        _joined([(part.lifetimes, len(part.sizes)) for part in parts], 0),
    )


def _check(each: OutgoingMessage) -> None:
    if each.delay is not None:
        check_delay(each.delay)
        if each.due:
            raise InvalidArgument(f"the message came with a delay of {each.delay} ms and due {each.due}: give one")
    if each.group:
        check_message_group(each.group)
    if each.deduplication:
        check_deduplication(each.deduplication)
    if each.due < 0:
        raise InvalidArgument(f"due {each.due} is no instant: use milliseconds since 1970, or 0 for none")
    if each.lifetime:
        check_lifetime(each.lifetime)


def _given(items: list[_Item] | None, nothing: _Item) -> list[_Item] | None:
    """None when no message has anything of its own."""
    return None if items is None or all(item == nothing for item in items) else items


def _selected(items: list[_Item] | None, places: Sequence[int]) -> list[_Item] | None:
    return None if items is None else [items[place] for place in places]


def _joined(parts: Sequence[tuple[list[_Item] | None, int]], nothing: _Item) -> list[_Item] | None:
    if all(items is None for items, _ in parts):
        return None
    return [item for items, count in parts for item in ([nothing] * count if items is None else items)]


def _array_head(count: int) -> bytes:
    """Of an array of so many elements, fewer than 65,536, in MessagePack."""
    return bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def _head_length(count: int) -> int:
    return 1 if count < 16 else 3

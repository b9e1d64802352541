"""Messages on their way in, packed once: the form in which they travel to the leader and are stored in the log.

What can be judged without knowing the queue is judged here, message by message, so that a bad one costs the others
nothing. Reading a request and packing it is all the work that is done per message before the log.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker.base.errors import CallerError, Refusal
from broker.base.limits import MAX_MESSAGE_SIZE
from broker.domain.queues.message_validation import check_message
from broker.domain.queues.model import Message
from broker.domain.queues.validation import check_batch, check_delay

_encoder = msgspec.msgpack.Encoder()


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """``messages`` is an encoded array; ``sizes`` counts each one's bytes; ``delays`` (ms) may be None: the queue's."""

    sizes: list[int]
    delays: list[int | None] | None
    messages: msgspec.Raw


class Outgoing(msgspec.Struct, frozen=True):
    """One batch. ``places`` are the positions in the caller's batch of those packed, None when that is all of them;
    ``refused`` the others, with the reason."""

    packed: Packed
    places: list[int] | None = None
    refused: tuple[tuple[int, Refusal], ...] = ()


def pack_bodies(bodies: Sequence[bytes]) -> Outgoing:
    """Messages without attributes and with the queue's delay: the fast way.

    Raises BatchEmpty, BatchTooLarge.
    """
    sizes = list(map(len, bodies))
    check_batch(len(sizes), sum(sizes))
    return Outgoing(Packed(sizes, None, msgspec.Raw(_encoder.encode([(body, ()) for body in bodies]))))


def pack(messages: Sequence[Message], delays: Sequence[int | None]) -> Outgoing:
    """``delays[k]`` in milliseconds, or None for the queue's. Raises BatchEmpty, BatchTooLarge."""
    check_batch(len(messages), sum(message.size() for message in messages))
    sizes: list[int] = []
    places: list[int] = []
    refused: list[tuple[int, Refusal]] = []
    for place, (message, delay) in enumerate(zip(messages, delays, strict=True)):
        try:
            if delay is not None:
                check_delay(delay)
            sizes.append(check_message(message, MAX_MESSAGE_SIZE))
        except CallerError as error:
            refused.append((place, Refusal.of(error)))
        else:
            places.append(place)
    good = [messages[place] for place in places]
    own_delays = [delays[place] for place in places]
    packed = Packed(
        sizes,
        None if all(delay is None for delay in own_delays) else own_delays,
        msgspec.Raw(_encoder.encode(good)),
    )
    return Outgoing(packed, places if refused else None, tuple(refused))

"""Messages on their way in, packed once: the form in which they travel to the leader and are stored in the log.

What can be judged without knowing the queue is judged here, message by message, so that a bad one costs the others
nothing. Reading a request and packing it is all the work that is done per message before the log.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker.base.errors import BatchEmpty, BatchTooLarge, InvalidArgument, Refusal
from broker.base.limits import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, MAX_DELAY
from broker.domain.queues.commands import Attribute, Message
from broker.services.checks import check_message_attributes

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
    _check_batch(sizes)
    return Outgoing(Packed(sizes, None, msgspec.Raw(_encoder.encode([(body, ()) for body in bodies]))))


def pack(messages: Sequence[Message], delays: Sequence[int | None]) -> Outgoing:
    """``delays[k]`` in milliseconds, or None for the queue's. Raises BatchEmpty, BatchTooLarge."""
    _check_batch([message.size() for message in messages])
    places: list[int] = []
    refused: list[tuple[int, Refusal]] = []
    for place, (message, delay) in enumerate(zip(messages, delays, strict=True)):
        try:
            _check_message(message.attributes, delay)
        except InvalidArgument as error:
            refused.append((place, Refusal.of(error)))
        else:
            places.append(place)
    good = [messages[place] for place in places]
    own_delays = [delays[place] for place in places]
    packed = Packed(
        [message.size() for message in good],
        None if all(delay is None for delay in own_delays) else own_delays,
        msgspec.Raw(_encoder.encode(good)),
    )
    return Outgoing(packed, places if refused else None, tuple(refused))


def _check_batch(sizes: list[int]) -> None:
    if not sizes:
        raise BatchEmpty("a batch needs at least one message")
    if len(sizes) > MAX_BATCH_ENTRIES:
        raise BatchTooLarge(f"a batch has at most {MAX_BATCH_ENTRIES} messages, this has {len(sizes)}: split it")
    if sum(sizes) > MAX_BATCH_BYTES:
        raise BatchTooLarge(f"a batch has at most {MAX_BATCH_BYTES} bytes, this has {sum(sizes)}: split it")


def _check_message(attributes: tuple[Attribute, ...], delay: int | None) -> None:
    if attributes:
        check_message_attributes(attributes)
    if delay is not None and not 0 <= delay <= MAX_DELAY:
        raise InvalidArgument(f"a delay is 0 to {MAX_DELAY} ms, this is {delay}")

"""A batch of messages against its queue: what its kind and its attributes demand, message by message.

What a queue's leader proposes has been here, so a message that does not fit fails alone. A batch for a standard queue
that asks for nothing of its own costs no work per message. This room must not know where queues are.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from broker.base.errors import (
    CallerError,
    DeduplicationIdRequired,
    MessageGroupRequired,
    MessageTooLong,
    NotForFifo,
    NotForStandard,
    Refusal,
)
from broker.base.instants import WallMillis
from broker.domain.queues.commands import Send
from broker.domain.queues.message_validation import check_due, check_lifetime, check_outlives
from broker.domain.queues.model import Described, Message, QueueAttributes, is_fifo
from broker.services.outgoing import Packed
from broker.services.replies import Failures

_messages = msgspec.msgpack.Decoder(list[Message])


def judge(packed: Packed, queue: Described, now: WallMillis) -> tuple[Send | None, Failures]:
    """The command for what the queue takes of the batch, None for nothing; and why not the others, by position in
    ``packed``."""
    largest = max(packed.sizes, default=0)
    fifo = is_fifo(queue.name)
    if fifo:
        packed = _with_deduplication(packed, queue.attributes)
    elif largest <= queue.attributes.message_size_limit and packed.ordinary and packed.sizes:
        return _command(queue, packed, largest), ()
    refused: dict[int, Refusal] = {}
    for place in range(len(packed.sizes)):
        refusal = (
            (_of_fifo(packed, place, queue) if fifo else _of_standard(packed, place, queue))
            or _of_size(packed, place, queue.attributes)
            or _of_time(packed, place, queue.attributes, now)
        )
        if refusal is not None:
            refused[place] = refusal
    if refused:
        packed = packed.selected([place for place in range(len(packed.sizes)) if place not in refused])
        largest = max(packed.sizes, default=0)
    return _command(queue, packed, largest) if packed.sizes else None, tuple(refused.items())


def _command(queue: Described, packed: Packed, largest: int) -> Send:
    """Those with neither a delay nor an instant of their own have the queue's delay."""
    delays = None
    if packed.delays is not None:
        own = queue.attributes.delay
        delays = tuple(own if delay is None else delay for delay in packed.delays)
    if packed.ordinary and packed.groups is None:
        return Send(queue.queue, len(packed.sizes), largest, delays, packed.messages)
    return Send(
        queue.queue,
        len(packed.sizes),
        largest,
        delays,
        packed.messages,
        None if packed.groups is None else tuple(packed.groups),
        None if packed.deduplication is None else tuple(packed.deduplication),
        None if packed.due is None else tuple(packed.due),
        None if packed.lifetimes is None else tuple(packed.lifetimes),
    )


def _with_deduplication(packed: Packed, attributes: QueueAttributes) -> Packed:
    """SendMessage: the id is the SHA-256 of the body, without attributes, unless the sender gave one."""
    given = packed.deduplication
    if not attributes.content_deduplication or (given is not None and all(given)):
        return packed
    digests = [sha256(message.body).hexdigest() for message in _messages.decode(packed.messages)]
    if given is not None:
        digests = [one or digest for one, digest in zip(given, digests, strict=True)]
    return msgspec.structs.replace(packed, deduplication=digests)


def _of_fifo(packed: Packed, place: int, queue: Described) -> Refusal | None:
    if packed.groups is None or not packed.groups[place]:
        return Refusal(
            MessageGroupRequired.code, f"the message names no message group, FIFO queue {queue.name!r} needs one"
        )
    if packed.deduplication is None or not packed.deduplication[place]:
        return Refusal(
            DeduplicationIdRequired.code,
            f"the message has no deduplication id: FIFO queue {queue.name!r} needs one, or content-based deduplication",
        )
    if packed.delays is not None and (delay := packed.delays[place]) is not None:
        return Refusal(
            NotForFifo.code,
            f"a delay of {delay} ms of a single message is not for FIFO queue {queue.name!r}: set the queue's delay",
        )
    if packed.due is not None and (due := packed.due[place]):
        return Refusal(
            NotForFifo.code,
            f"due {due}: a schedule of a single message is not for FIFO queue {queue.name!r}, use a standard queue",
        )
    return None


def _of_standard(packed: Packed, place: int, queue: Described) -> Refusal | None:
    if packed.deduplication is None or not (given := packed.deduplication[place]):
        return None
    return Refusal(
        NotForStandard.code,
        f"deduplication id {given!r} is not for standard queue {queue.name!r}: leave it out, or use a FIFO queue",
    )


def _of_size(packed: Packed, place: int, attributes: QueueAttributes) -> Refusal | None:
    size, limit = packed.sizes[place], attributes.message_size_limit
    if size <= limit:
        return None
    return Refusal(MessageTooLong.code, f"the message has {size} bytes, the queue takes at most {limit}")


def _of_time(packed: Packed, place: int, attributes: QueueAttributes, now: WallMillis) -> Refusal | None:
    due = 0 if packed.due is None else packed.due[place]
    lifetime = 0 if packed.lifetimes is None else packed.lifetimes[place]
    delay = None if packed.delays is None else packed.delays[place]
    try:
        if due:
            check_due(due, now, attributes.retention)
        if lifetime:
            check_lifetime(lifetime, attributes.retention)
            check_outlives(lifetime, due - now if due else attributes.delay if delay is None else delay)
    except CallerError as error:
        return Refusal.of(error)
    return None

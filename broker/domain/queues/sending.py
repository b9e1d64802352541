"""What a Send must be like before it changes anything, judged by the queue it is for."""

from __future__ import annotations

from collections.abc import Sized

from broker.base.errors import InvalidArgument, MessageTooLong
from broker.base.instants import WallMillis
from broker.domain.queues import validation
from broker.domain.queues.commands import Send
from broker.domain.queues.message_validation import check_due, check_lifetime
from broker.domain.queues.queue import Queue


def check_send(queue: Queue, command: Send, at: WallMillis) -> None:
    """Raises BatchEmpty, BatchTooLarge, MessageTooLong, InvalidArgument. Proposers have checked each message before, so
    a batch is refused as a whole."""
    attributes = queue.attributes
    validation.check_batch(command.count)
    if command.largest > attributes.message_size_limit:
        raise MessageTooLong(
            f"a message has {command.largest} bytes with its attributes, queue {queue.name} takes "
            f"{attributes.message_size_limit}: send less, or raise the queue's message size limit"
        )
    if command.delays is not None:
        _one_for_each("delays", command.delays, command.count)
        validation.check_delay(min(command.delays))
        validation.check_delay(max(command.delays))
    if command.groups is not None:
        _one_for_each("message groups", command.groups, command.count)
    if command.deduplication is not None:
        _one_for_each("deduplication ids", command.deduplication, command.count)
    if command.due is not None:
        _one_for_each("instants", command.due, command.count)
        check_due(max(command.due), at, attributes.retention)
    if command.lifetimes is not None:
        _one_for_each("lifetimes", command.lifetimes, command.count)
        for lifetime in command.lifetimes:
            if lifetime:
                check_lifetime(lifetime, attributes.retention)


def _one_for_each(what: str, given: Sized, count: int) -> None:
    if len(given) != count:
        raise InvalidArgument(f"{count} messages came with {len(given)} {what}: give one for each")

"""What deliveries refer to: message bodies, read from the log and decoded once per entry.

A batch of messages is one log entry and its messages are mostly received close together, so decoded entries are kept
until newer ones have used up the bytes allowed. This room must not know who receives them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from broker.base.errors import DataCorrupt
from broker.base.ids import GroupId, Index
from broker.base.limits import MIB
from broker.domain.queues.commands import Arrive, Command, Exchange, Send
from broker.domain.queues.model import Message
from broker.machine import envelope
from broker.replication.groups import Groups

DEFAULT_CACHE_SIZE = 32 * MIB
_ENTRY_OVERHEAD = 256
"""Bytes that a kept entry costs beside its bodies, roughly."""

_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_messages = msgspec.msgpack.Decoder(list[Message])


class Content(msgspec.Struct, frozen=True):
    """The messages that one entry carried, by slot, and the id that each was deduplicated by, "" for none; None when
    that is all of them. ``size``: bytes of the entry."""

    messages: list[Message]
    deduplication: Sequence[str] | None
    size: int

    def deduplication_of(self, slot: int) -> str:
        return "" if self.deduplication is None else self.deduplication[slot]


class Contents:
    """``cache_size`` in bytes, over all groups."""

    def __init__(self, groups: Groups, cache_size: int = DEFAULT_CACHE_SIZE) -> None:
        self._groups = groups
        self._cache_size = cache_size
        self._kept: OrderedDict[tuple[GroupId, int], Content] = OrderedDict()
        self._kept_size = 0

    def of_entry(self, group: GroupId, index: int) -> Content | None:
        """What the command in this entry brought; None when the entry is gone: all its messages were deleted.

        Raises DataCorrupt.
        """
        key = (group, index)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        data = self._groups.read_entry(group, Index(index))
        if data is None:
            return None
        content = _decode(group, index, data)
        self._keep(key, content)
        return content

    def keeps(self, group: GroupId, index: int) -> bool:
        """Whether ``of_entry`` answers without reading."""
        return (group, index) in self._kept

    @property
    def kept_size(self) -> int:
        """Bytes kept now."""
        return self._kept_size

    def _keep(self, key: tuple[GroupId, int], content: Content) -> None:
        self._kept[key] = content
        self._kept_size += content.size + _ENTRY_OVERHEAD
        while self._kept_size > self._cache_size:
            _, dropped = self._kept.popitem(last=False)
            self._kept_size -= dropped.size + _ENTRY_OVERHEAD


def _decode(group: GroupId, index: int, data: bytes) -> Content:
    deduplication: Sequence[str] | None
    try:
        command = _commands.decode(envelope.decode(data).command)
        if isinstance(command, Exchange):
            command = command.send
        if isinstance(command, Send):
            deduplication = command.deduplication
        elif isinstance(command, Arrive):
            deduplication = [arrival.deduplication for arrival in command.arrivals]
        else:
            raise DataCorrupt(f"entry {index} of group {group} should hold messages, it holds {type(command).__name__}")
        return Content(_messages.decode(command.messages), deduplication, len(data))
    except msgspec.DecodeError as error:
        raise DataCorrupt(f"entry {index} of group {group} cannot be read: {error}") from error

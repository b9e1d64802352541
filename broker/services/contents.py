"""What deliveries refer to: message bodies, read from the log and decoded once per entry.

A batch of messages is one log entry and its messages are mostly received close together, so decoded entries are kept
until newer ones have used up the bytes allowed. This room must not know who receives them.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from broker.base.errors import DataCorrupt
from broker.base.ids import GroupId, Index
from broker.base.limits import MIB
from broker.domain.queues.commands import Command, Send
from broker.domain.queues.model import Message
from broker.machine import envelope
from broker.replication.groups import Groups

DEFAULT_CACHE_SIZE = 32 * MIB
_ENTRY_OVERHEAD = 256
"""Bytes that a kept entry costs beside its bodies, roughly."""

_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_messages = msgspec.msgpack.Decoder(list[Message])


class Contents:
    """``cache_size`` in bytes, over all groups."""

    def __init__(self, groups: Groups, cache_size: int = DEFAULT_CACHE_SIZE) -> None:
        self._groups = groups
        self._cache_size = cache_size
        self._kept: OrderedDict[tuple[GroupId, int], tuple[list[Message], int]] = OrderedDict()
        self._kept_size = 0

    def of_entry(self, group: GroupId, index: int) -> list[Message] | None:
        """The messages that the Send in this entry carried, by slot; None when the entry is gone: all were deleted.

        Raises DataCorrupt.
        """
        key = (group, index)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept[0]
        data = self._groups.read_entry(group, Index(index))
        if data is None:
            return None
        messages = _decode(group, index, data)
        self._keep(key, messages, len(data) + _ENTRY_OVERHEAD)
        return messages

    @property
    def kept_size(self) -> int:
        """Bytes kept now."""
        return self._kept_size

    def _keep(self, key: tuple[GroupId, int], messages: list[Message], size: int) -> None:
        self._kept[key] = (messages, size)
        self._kept_size += size
        while self._kept_size > self._cache_size:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._kept_size -= dropped


def _decode(group: GroupId, index: int, data: bytes) -> list[Message]:
    try:
        command = _commands.decode(envelope.decode(data).command)
        if not isinstance(command, Send):
            raise DataCorrupt(f"entry {index} of group {group} should hold messages, it holds {type(command).__name__}")
        return _messages.decode(command.messages)
    except msgspec.DecodeError as error:
        raise DataCorrupt(f"entry {index} of group {group} cannot be read: {error}") from error

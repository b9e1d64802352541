"""How a message is named inside a queue: its key.

A key is one integer, index << 16 | slot: it orders messages as they were sent and costs no object of its own. Nothing
here knows whether the message still exists.
"""

from __future__ import annotations

SLOT_BITS = 16
SLOT_MASK = (1 << SLOT_BITS) - 1
AFTER_ALL = 1 << 64
"""Greater than any key."""


def message_key(index: int, slot: int) -> int:
    return index << SLOT_BITS | slot

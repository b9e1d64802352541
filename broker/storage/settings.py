"""The numbers an operator may turn."""

from __future__ import annotations

import msgspec

from broker.base.limits import MIB


class StorageSettings(msgspec.Struct, frozen=True):
    """Sizes in bytes."""

    segment_bytes: int = 64 * MIB
    """Size of one log file. A single batch that is larger gets a file of its own size."""
    cache_bytes: int = 64 * MIB
    """Recently written entries kept in memory, over all groups."""
    compact_below: float = 0.5
    """A segment whose live share is below this is emptied and deleted."""
    spare_segments: int = 2
    """Segments kept ready, filled with zeros."""
    open_segments: int = 128
    """File handles kept open for reading."""

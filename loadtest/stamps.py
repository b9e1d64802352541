"""What a test message carries at its front: who sent it, as which one, and when it was due.

The verifier finds losses and repetitions by the sequence numbers, the report finds latencies by the due time.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_LAYOUT = struct.Struct(">IIQQH")
STAMP_BYTES = _LAYOUT.size


class Stamp(NamedTuple):
    """``run`` tells this run's messages from those of an earlier one. ``sequence`` counts from 0 for each producer.
    ``due_ns`` is an instant of the generator's monotonic clock, ``phase`` the index of the phase it lies in."""

    run: int
    producer: int
    sequence: int
    due_ns: int
    phase: int


def stamped(stamp: Stamp, filler: bytes) -> bytes:
    """A body: the stamp, then the filler."""
    return _LAYOUT.pack(*stamp) + filler


def stamp_of(body: bytes) -> Stamp:
    """Raises ValueError for a body that is too short to carry a stamp."""
    if len(body) < STAMP_BYTES:
        raise ValueError(f"a body of {len(body)} bytes carries no stamp; it needs {STAMP_BYTES}")
    return Stamp._make(_LAYOUT.unpack_from(body))

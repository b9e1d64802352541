"""A *location* is ``segment << 32 | offset`` of a record; 0 means that no place is known."""

from __future__ import annotations

import sys
from array import array
from collections import Counter

OFFSET_BITS = 32
OFFSET_MASK = (1 << OFFSET_BITS) - 1

_SEGMENT_WORD = 1 if sys.byteorder == "little" else 0


def segment_counts(locations: array[int]) -> Counter[int]:
    """How many of the locations lie in each segment."""
    if len(locations) < 16:
        return Counter([location >> OFFSET_BITS for location in locations])
    words = memoryview(locations).cast("B").cast("I")
    return Counter(words[_SEGMENT_WORD::2])

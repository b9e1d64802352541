"""What a disk writes at once, and how a batch that was torn is told from one that rotted.

A disk writes a sector wholly or not at all, and the sectors of one write in any order. Where a batch goes there were
zeros before (``pool``). So of a batch that was torn at least one piece, what one sector has of it, is still zeros. A
batch with a damaged byte and no such piece had been written whole: it rotted. For the sake of data that is zeros
itself, the batch's header says how many such pieces it has.

What looks torn and is not: rot that left nothing but zeros of a piece, such as a sector that the disk lost. 512 bytes
are assumed and no more: a disk or a file system that writes larger pieces at once does what is said here all the same.
"""

from __future__ import annotations

SECTOR = 512
_ZEROS = bytes(SECTOR)
_APART = 32
"""Two bytes so far apart are seldom both zero in data that is not: the head of a record is no longer."""


def zero_pieces(batch: bytes | bytearray, offset: int) -> int:
    """How many pieces of the batch at ``offset`` of its file are zeros. The first piece never is: a batch begins with
    its node's mark. What the header says does not matter, for the piece in which it ends has more than the header."""
    first = -offset % SECTOR
    starts = batch[first::SECTOR]
    place = starts.find(0)
    if place < 0:
        return 0
    others = batch[first + _APART :: SECTOR]
    found = 0
    while place >= 0:
        if place >= len(others) or not others[place]:
            start = first + place * SECTOR
            found += batch.startswith(_ZEROS[: len(batch) - start], start)
        place = starts.find(0, place + 1)
    return found


def is_begun(found: bytes, offset: int, header_bytes: int) -> bool:
    """Whether the sectors that the header of a batch at ``offset`` lies in were written. ``found``: what is there, a
    sector more than the header."""
    first = SECTOR - offset % SECTOR
    if first >= header_bytes:
        return any(found[:header_bytes])
    return any(found[:first]) and any(found[first : first + SECTOR])

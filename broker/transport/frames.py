"""Frames: how messages are cut out of a TCP byte stream. Pure: bytes in, frames out.

A frame is a 13-byte header and a payload. The header holds, little-endian: the payload's length (u32), the same length
exclusive-or a constant (u32), the CRC-32C of kind and payload (u32), the kind (u8). The length is told twice because a
damaged length would otherwise be waited for, and because it exposes a stranger's bytes at the first 13. This room must
not know what the payloads mean.
"""

from __future__ import annotations

import struct
from typing import Final

from google_crc32c import extend

Frame = tuple[int, bytes]
"""Kind and payload."""

HELLO: Final = 1
READY: Final = 2
REFUSED: Final = 3
PAYLOAD: Final = 4
PING: Final = 5
CLOSING: Final = 6
BULK_HEADER: Final = 7
BULK_PIECE: Final = 8
BULK_END: Final = 9
BULK_DONE: Final = 10
BULK_FAILED: Final = 11

_HEADER = struct.Struct("<IIIB")
HEADER_SIZE: Final = _HEADER.size
_GUARD: Final = 0x3F01D5E7
_KIND_CHECKSUMS: Final = tuple(extend(0, bytes([kind])) for kind in range(256))

_READS_BEFORE_SHRINKING: Final = 256


class FrameError(Exception):
    """The bytes are not frames: the connection cannot go on. The message says what was found."""


def header(kind: int, payload: bytes) -> bytes:
    """What goes before ``payload`` on the wire."""
    length = len(payload)
    return _HEADER.pack(length, length ^ _GUARD, extend(_KIND_CHECKSUMS[kind], payload), kind)


class FrameBuffer:
    """Cuts frames out of bytes that arrive in any pieces.

    Write received bytes into ``writable()``, tell ``filled`` how many, then ``take`` the frames that are complete.
    Memory grows with the bytes received, never with a length that was only claimed. Not to be used after FrameError.
    """

    __slots__ = ("_capacity", "_end", "_limit", "_raw", "_reads_while_large", "_start", "_view")

    def __init__(self, frame_limit: int, capacity: int) -> None:
        """``frame_limit``: the longest payload accepted, in bytes. ``capacity``: the usual size of the buffer."""
        self._limit = frame_limit
        self._capacity = capacity
        self._start = 0
        self._end = 0
        self._reads_while_large = 0
        self._raw = bytearray(capacity)
        self._view = memoryview(self._raw)

    def widen(self, frame_limit: int, capacity: int) -> None:
        """New limits from here on; bytes not yet taken stay."""
        self._limit = frame_limit
        self._capacity = capacity
        self._allocate(max(capacity, self._end - self._start))

    def writable(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._raw) > self._capacity:
                self._reads_while_large += 1
                if self._reads_while_large > _READS_BEFORE_SHRINKING:
                    self._allocate(self._capacity)
        elif self._start:
            self._move_to_front()
        if self._end == len(self._raw):
            self._allocate(2 * len(self._raw))
        return self._view[self._end :]

    def filled(self, count: int) -> None:
        """``count`` bytes were written into what ``writable`` gave last."""
        self._end += count

    def take(self, most: int) -> list[Frame]:
        """At most ``most`` complete frames, in order; fewer means that there are no more yet.

        Raises FrameError for a damaged header or payload, and for a payload over the limit.
        """
        frames: list[Frame] = []
        raw, view, position, end = self._raw, self._view, self._start, self._end
        while len(frames) < most and end - position >= HEADER_SIZE:
            length, guard, checksum, kind = _HEADER.unpack_from(raw, position)
            if length ^ guard != _GUARD:
                found = bytes(view[position : position + HEADER_SIZE])
                raise FrameError(f"not a frame header: {found!r}")
            if length > self._limit:
                raise FrameError(f"a frame of {length} bytes is over the limit of {self._limit}")
            finish = position + HEADER_SIZE + length
            if finish > end:
                break
            payload = bytes(view[position + HEADER_SIZE : finish])
            if extend(_KIND_CHECKSUMS[kind], payload) != checksum:
                raise FrameError(f"the checksum of a frame of kind {kind} and {length} bytes does not match")
            frames.append((kind, payload))
            position = finish
        self._start = position
        return frames

    def _move_to_front(self) -> None:
        kept = self._end - self._start
        self._view[:kept] = bytes(self._view[self._start : self._end])
        self._start, self._end = 0, kept

    def _allocate(self, size: int) -> None:
        """A buffer of ``size`` with the bytes not yet taken at its front."""
        kept = bytes(self._view[self._start : self._end])
        self._raw = bytearray(size)
        self._view = memoryview(self._raw)
        self._view[: len(kept)] = kept
        self._start, self._end = 0, len(kept)
        self._reads_while_large = 0

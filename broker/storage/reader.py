"""Reading single entries back from segments, each verified."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from broker.raft.types import Entry
from broker.storage import layout, segment
from broker.storage.damage import LOG, corrupt
from broker.storage.disk import Disk, DiskFile
from broker.storage.locations import OFFSET_BITS, OFFSET_MASK
from broker.storage.segment import RECORD_HEAD_BYTES, Damage

_READ_AHEAD = 4096
_SPAN = 512 * 1024
"""Entries that lie within so many bytes are read together."""


class Reader:
    """Keeps some segments open. For one thread."""

    def __init__(self, disk: Disk, open_segments: int) -> None:
        self._disk = disk
        self._limit = open_segments
        self._files: OrderedDict[int, DiskFile] = OrderedDict()

    def entries(self, locations: Sequence[int], group: int, first: int) -> list[Entry]:
        """Consecutive entries from ``first`` that stand at ``locations``. Raises DataCorrupt."""
        found: list[Entry] = []
        place = 0
        while place < len(locations):
            stop = _together(locations, place)
            number, start = locations[place] >> OFFSET_BITS, locations[place] & OFFSET_MASK
            path = layout.segment_path(number)
            try:
                file = self.file(number)
            except FileNotFoundError:
                raise corrupt(path, 0, "the file is missing", group, index=first + len(found), kind=LOG) from None
            span = (locations[stop - 1] & OFFSET_MASK) - start
            window = file.read_at(span + _READ_AHEAD, start)
            if len(window) >= span + RECORD_HEAD_BYTES:
                needed = span + segment.record_length(window, span)
                if needed > len(window):
                    window += file.read_at(min(needed, file.size() - start) - len(window), start + len(window))
            for location in locations[place:stop]:
                offset = (location & OFFSET_MASK) - start
                try:
                    found.append(segment.decode_entry(window, offset, group, first + len(found)))
                except Damage as damage:
                    index = first + len(found)
                    raise corrupt(path, start + offset, str(damage), group, index=index, kind=LOG) from None
            place = stop
        return found

    def file(self, number: int) -> DiskFile:
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = self._disk.open(layout.segment_path(number))
            if len(self._files) > self._limit:
                self._files.popitem(last=False)[1].close()
        else:
            self._files.move_to_end(number)
        return file

    def forget(self, number: int) -> None:
        """The segment was freed."""
        file = self._files.pop(number, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _together(locations: Sequence[int], place: int) -> int:
    """End of the row of locations that ascend within one span of one segment."""
    start = before = locations[place]
    limit = start + _SPAN
    stop = place + 1
    while stop < len(locations) and before < locations[stop] < limit:
        before = locations[stop]
        stop += 1
    return stop

"""The files that hold segments: kept ready before they are needed, deleted after they are freed.

Writing into a file whose blocks exist and are not zeroed lazily makes a sync cheap; making such a file is slow. So some
are kept in stock. Every byte of a file that ``activate`` gives is zero, on the medium too: by this recovery tells what
was torn from what rotted (``sectors``), and so no file is used a second time. Called from the writing thread, and
``prepare`` from any other; what is in a segment is not known here.
"""

from __future__ import annotations

import threading

from broker.storage import layout
from broker.storage.disk import Disk, DiskFile
from broker.storage.settings import StorageSettings


class SegmentPool:
    def __init__(self, disk: Disk, settings: StorageSettings) -> None:
        self._disk = disk
        self._settings = settings
        self._lock = threading.Lock()
        self._spares: list[str] = []
        self._counter = 0
        self._take_stock()

    @property
    def spares(self) -> int:
        return len(self._spares)

    @property
    def wants_spare(self) -> bool:
        return len(self._spares) < self._settings.spare_segments

    def prepare(self) -> bool:
        """Make one spare if one is wanted: writes and syncs a whole segment of zeros. Raises DiskFull, OSError."""
        if not self.wants_spare:
            return False
        path = self._make(self._settings.segment_bytes)
        with self._lock:
            self._spares.append(path)
        return True

    def activate(self, number: int, size: int) -> DiskFile:
        """The file of segment ``number``, all zeros, its name durable. Raises DiskFull: then nothing has changed."""
        path = layout.segment_path(number)
        spare = None
        if size == self._settings.segment_bytes:
            with self._lock:
                spare = self._spares.pop() if self._spares else None
        self._disk.rename(spare or self._make(size), path)
        self._disk.sync_directory(layout.WAL)
        return self._disk.open(path)

    def release(self, number: int) -> None:
        """Segment ``number`` is not needed any more."""
        self._disk.delete(layout.segment_path(number))

    def _make(self, size: int) -> str:
        with self._lock:
            path = self._next_spare_path()
        part = path + layout.PART
        file = self._disk.create(part)
        try:
            file.preallocate(size)
            file.sync()
        except BaseException:
            file.close()
            self._disk.delete(part)
            raise
        file.close()
        self._disk.rename(part, path)
        return path

    def _next_spare_path(self) -> str:
        self._counter += 1
        return layout.spare_path(self._counter)

    def _take_stock(self) -> None:
        for name in self._disk.names(layout.WAL):
            path = f"{layout.WAL}/{name}"
            number = layout.spare_number(name)
            if name.endswith(layout.PART):
                self._disk.delete(path)
            elif number is not None:
                self._counter = max(self._counter, number)
                file = self._disk.open(path)
                size = file.size()
                file.close()
                if size == self._settings.segment_bytes and self.wants_spare:
                    self._spares.append(path)
                else:
                    self._disk.delete(path)

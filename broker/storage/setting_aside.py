"""A data directory of which nobody can say what is still true: all of it is moved to ``damaged/<n>``, nothing deleted.

The manifest goes first and the log last. So a crash in between leaves a log without a manifest, which is damage again,
and never what looks like a directory in order.
"""

from __future__ import annotations

from contextlib import suppress

from broker.base.errors import DataCorrupt
from broker.storage import layout, small_files
from broker.storage.disk import Disk


def set_aside(disk: Disk, why: str) -> int:
    """Afterwards the directory is empty but for the lock and what was set aside; the number under which that is."""
    number = max(kept(disk), default=0) + 1
    small_files.write(disk, layout.damage_note(number), why.encode())
    _move(disk, number, "", [layout.MANIFEST] if layout.MANIFEST in disk.names("") else [])
    _move(disk, number, "", [name for name in disk.names("") if small_files.belongs_here(disk, name)])
    _move(disk, number, layout.SNAPSHOTS, disk.names(layout.SNAPSHOTS))
    _move(disk, number, layout.WAL, disk.names(layout.WAL))
    return number


def kept(disk: Disk) -> dict[int, str]:
    """What was set aside, by number: why."""
    found: dict[int, str] = {}
    for name in disk.names(""):
        number = layout.damage_number(name)
        if number is not None:
            found[number] = "its note cannot be read"
            with suppress(DataCorrupt):
                found[number] = (small_files.read(disk, name) or b"").decode()
    return found


def _move(disk: Disk, number: int, directory: str, names: list[str]) -> None:
    target = layout.damaged_path(number, directory)
    disk.make_directory(target)
    for name in names:
        disk.rename(f"{directory}/{name}" if directory else name, f"{target}/{name}")
    disk.sync_directory(target)
    disk.sync_directory(directory)

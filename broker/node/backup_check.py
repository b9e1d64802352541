"""Whether a backup is whole, and one state: every file, every group's state, and whether the groups know one another.

Reads as a restore would, and makes nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.node.backup_states import GroupState, Resources, missing_queues, resources_of, unknown_queues
from broker.storage.backup_files import Manifest
from broker.storage.backup_reader import BackupReader


class Checked(msgspec.Struct, frozen=True):
    """``remarks``: what is odd and does no harm."""

    manifest: Manifest
    remarks: tuple[str, ...]


def check(backup: Path) -> Checked:
    """Raises InvalidArgument when there is no finished backup of a known format; DataCorrupt, naming the file."""
    reader = BackupReader(backup)
    resources: Resources = {}
    remarks: list[str] = []
    for file in reader.manifest.groups:
        reader.verify(file)
        state = GroupState(reader, file)
        for _ in state.entries():
            pass
        group = GroupId(file.group)
        if group == DIRECTORY_GROUP:
            resources = resources_of(state.machine)
            continue
        for resource in missing_queues(group, state.machine, resources):
            raise reader.damaged(file, f"queue {resource.name!r} should be in it, as the directory says, and is not")
        why = "which the directory does not know (any more); a restore leaves it out"
        remarks += [
            f"{file.file} holds queue {queue.name!r}, {why}"
            for queue in unknown_queues(group, state.machine, resources)
        ]
    return Checked(reader.manifest, tuple(remarks))

"""`broker check`: verifies the data directory of a node that does not run, and says what is wrong and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from broker.base.errors import InvalidArgument, Unavailable
from broker.base.limits import KIB, MIB
from broker.cli.console import out
from broker.cli.options import AsJson
from broker.cli.running import FAILED, run
from broker.storage import layout
from broker.storage.checking import Found, GroupFound, check
from broker.storage.disk import ReadOnlyDisk

_ONE_REPLICA = (
    "Start the node: it opens every other group, and the other nodes give it these replicas anew, by themselves, as "
    "long as they have a quorum (`broker status`). What is damaged is kept until then."
)
_EVERYTHING = (
    "Nobody can say what this took, a vote for one. Start the node: it moves the whole directory to `damaged/`, begins "
    "empty, and is given its replicas anew. First see with `broker status` that all other nodes are up and their lag "
    "is 0: until then this disk may hold one of only two copies of something."
)


def check_directory(
    directory: Annotated[Path, typer.Argument(help="A node's `data_dir`.", metavar="DIR")],
    as_json: AsJson = False,
) -> None:
    """Verify a data directory offline: every record of the log, every snapshot, the manifest. Changes nothing.

    The node must not run. Exit code 0 when all is well, 1 when something is damaged or cannot be read.

    [dim]broker check .broker/data[/dim]
    [dim]broker check /var/lib/threefold --json | jq '.damage[] | {path, offset, group, index}'[/dim]
    """

    async def work() -> int:
        found = _look(directory)
        if as_json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            out().print(report_of(found, directory))
        return 0 if found.is_well else FAILED

    run(work)


def report_of(found: Found, directory: Path) -> RenderableType:
    whose = f"node {found.node} of cluster {found.cluster}" if found.node else "of a node that cannot be told any more"
    heading = Text.assemble(
        (str(directory), "bold"), f": {whose}; {found.segments:,} segments, {_size(found.segment_bytes)}"
    )
    parts: list[RenderableType] = [heading, "", _groups(found)]
    if not found.complete:
        parts.append(Text("The log could be read only so far; what comes after is not in this table.", style="yellow"))
    if found.torn:
        parts.append(Text("The last batch was torn by a crash: nobody was told of it, and it does not count."))
    for number, why in found.set_aside.items():
        parts.append(Text(f"{layout.damaged_path(number)} is kept from before: {why}", style="yellow"))
    parts.append("")
    if found.is_well:
        parts.append(Text("No damage.", style="green"))
    else:
        parts += [_damage(found), "", Text(_EVERYTHING if found.costs_everything else _ONE_REPLICA)]
    return Group(*parts)


def _look(directory: Path) -> Found:
    """Raises StorageLocked, InvalidArgument, Unavailable."""
    disk = ReadOnlyDisk(directory)
    try:
        if not {layout.MANIFEST, layout.WAL}.intersection(disk.names("")):
            raise InvalidArgument(f"{directory} is not the data directory of a node: it has no {layout.MANIFEST}")
        lock = disk.lock(layout.LOCK)
        try:
            return check(disk)
        finally:
            lock.release()
    except OSError as error:
        raise Unavailable(f"{directory} cannot be read: {error}") from error


def _groups(found: Found) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("group", "entries", "older", "terms", "term", "live"):
        table.add_column(name, justify="right")
    table.add_column("vote")
    table.add_column("snapshot")
    table.add_column("state")
    for group in found.groups:
        table.add_row(
            str(group.group),
            f"{group.first:,}-{group.last:,}" if group.last >= group.first else "none",
            f"{group.older:,}",
            f"{group.first_term:,}-{group.last_term:,}" if group.last_term else "-",
            f"{group.term:,}",
            _size(group.live_bytes),
            group.vote or "-",
            _snapshot(group),
            Text("damaged", style="bold red") if group.damaged else Text("whole", style="green"),
        )
    return table


def _snapshot(group: GroupFound) -> str:
    return f"at {group.snapshot_index:,}, {_size(group.snapshot_bytes)}" if group.snapshot else "-"


def _damage(found: Found) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("damaged")
    table.add_column("offset", justify="right")
    table.add_column("group", justify="right")
    table.add_column("entry", justify="right")
    table.add_column("what", overflow="fold")
    for finding in found.damage:
        group = "any" if finding.group is None else str(finding.group)
        entry = "-" if finding.index is None else f"{finding.index:,}"
        table.add_row(finding.path, f"{finding.offset:,}", group, entry, Text(finding.what, style="red"))
    return table


def _size(size: int) -> str:
    return f"{size / MIB:,.1f} MiB" if size >= MIB else f"{-(-size // KIB):,} KiB"

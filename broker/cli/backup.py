"""`broker backup`: the whole cluster, as of one moment, into a directory; and whether a backup is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from broker.base.errors import InvalidArgument
from broker.cli.console import err, note, out
from broker.cli.fetching import Fetching, Watcher
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import Cluster, Timeout, connect
from broker.cli.running import run
from broker.node.backup_check import check as read_all
from broker.storage.backup_files import GroupFile, Manifest, must_be_empty
from broker.storage.disk import SystemDisk


def backup(
    directory: Annotated[Path, typer.Argument(help="A directory of its own, new or empty.", metavar="DIR")],
    only_check: Annotated[bool, typer.Option("--check", help="Verify the backup that is there.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Back the whole cluster up while clients go on: everything acknowledged before, and each message once.

    A backup that cannot be finished removes what it has written. [bold]broker restore[/bold] makes a new cluster of it.

    [dim]broker backup /backups/2026-11-28[/dim]
    [dim]broker backup /backups/2026-11-28 --check[/dim]
    """

    async def work() -> None:
        if only_check:
            check(directory)
            return
        try:
            disk = _open(directory)
            must_be_empty(disk, str(directory))
            async with connect(cluster, timeout) as client:
                with _Bars() as bars:
                    manifest = await Fetching(client, disk, bars).run()
        except OSError as error:
            raise InvalidArgument(f"{directory} cannot be written: {error}") from None
        out().print(table_of(manifest, directory))

    run(work)


def check(directory: Path) -> None:
    """Says what it found. Raises InvalidArgument, DataCorrupt."""
    checked = read_all(directory)
    out().print(table_of(checked.manifest, directory))
    for remark in checked.remarks:
        note(remark)
    note("every file is whole, every state can be loaded, and they fit together")


def table_of(manifest: Manifest, directory: Path) -> Table:
    table = Table(
        title=f"cluster {manifest.cluster} as of {manifest.captured_at} in {directory}",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("group", justify="right")
    table.add_column("index", justify="right")
    table.add_column("term", justify="right")
    table.add_column("MiB", justify="right")
    table.add_column("read from")
    table.add_column("file")
    for group in manifest.groups:
        table.add_row(*_cells(group))
    table.add_row("all", "", "", f"{manifest.size / 2**20:,.1f}", "", "", style="bold")
    return table


def _cells(group: GroupFile) -> tuple[str, ...]:
    size = f"{group.bytes / 2**20:,.1f}"
    return str(group.group), f"{group.index:,}", f"{group.term:,}", size, group.source, group.file


def _open(directory: Path) -> SystemDisk:
    if directory.exists() and not directory.is_dir():
        raise InvalidArgument(f"{directory} is no directory: name one that is new or empty")
    return SystemDisk(directory)


class _Bars(Watcher):
    """Progress on the terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn("{task.completed}/{task.total} groups"),
            TextColumn("{task.fields[read]}"),
            console=err(),
            transient=True,
        )
        self._task = self._progress.add_task("capturing", total=None, read="")
        self._read = 0

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begun(self, groups: int) -> None:
        self._read = 0
        self._progress.update(self._task, description="reading", total=groups, completed=0)

    def read(self, size: int) -> None:
        self._read += size
        self._progress.update(self._task, read=f"{self._read / 2**20:,.1f} MiB")

    def finished(self) -> None:
        self._progress.advance(self._task)

    def trouble(self, what: str) -> None:
        self._progress.console.print(Text(what, style="yellow"))

"""`broker restore`: from a backup to the data directory of a node that is about to found a new cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from broker.base.errors import InvalidArgument
from broker.cli import backup as backups
from broker.cli.console import note
from broker.cli.running import run
from broker.node.restoring import restore as make
from broker.node.settings import load


def restore(
    backup: Annotated[Path, typer.Argument(help="The directory that `broker backup` has filled.", metavar="BACKUP")],
    only_check: Annotated[bool, typer.Option("--check", help="Verify the backup, and restore nothing.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file with the node's settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as `broker node` takes it; may be repeated.")
    ] = None,
    node: Annotated[str | None, typer.Option("--node", help="Which of the founding nodes.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where its data is to be, new or empty.")] = None,
) -> None:
    """Make the data directory of one node of a new cluster, before its first start.

    The settings are those that the node will be started with. Do this for every founding node, with the same backup,
    before you start any of them.

    [dim]broker restore /backups/2026-11-28 --config a-0.toml[/dim]
    [dim]broker restore /backups/2026-11-28 --config node.toml --set zone=a --node a-0 --data-dir /data[/dim]
    [dim]broker restore /backups/2026-11-28 --check[/dim]
    """

    async def work() -> None:
        if only_check:
            backups.check(backup)
            return
        given = _given(settings or [])
        overrides = {"node": node, "data_dir": None if data_dir is None else str(data_dir)}
        chosen = load(config, {**given, **{key: value for key, value in overrides.items() if value}}, os.environ)
        try:
            done = make(backup, chosen)
        except OSError as error:
            raise InvalidArgument(f"{chosen.data_dir} cannot be made: {error}") from None
        note(
            f"{chosen.data_dir} is ready for {chosen.node} of cluster {done.cluster}: {len(done.groups)} groups with "
            f"{done.entries:,} live log entries, as of {done.captured_at}. Restore every founding node before "
            "you start one"
        )

    run(work)


def _given(texts: list[str]) -> dict[str, str]:
    given = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"--set {text!r} must look like key=value")
        given[key] = value
    return given

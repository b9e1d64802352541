"""`broker node`: one node of a cluster, in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.running import run_until_stopped
from broker.node.process import run_node
from broker.node.settings import load


def node(
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file with the node's settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value; wins over file and environment; may be repeated.")
    ] = None,
) -> None:
    """Run one node until SIGTERM or Ctrl-C, which hands its leaderships over first.

    Settings come from the file, then from the environment (BROKER_NODE, BROKER_ZONE, ...), then from --set.

    [dim]broker node --config /etc/threefold/node.toml[/dim]
    [dim]broker node --config node.toml --set node=a-0 --set zone=a[/dim]
    """
    overrides = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"--set {text!r} must look like key=value")
        overrides[key] = value
    run_until_stopped(lambda stop: run_node(load(config, overrides, os.environ), stop))

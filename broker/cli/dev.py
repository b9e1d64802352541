"""`broker dev`: a cluster of one node in this process, for a developer's machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.cluster import panel, refuse_busy_ports
from broker.cli.console import err
from broker.cli.layout import BASE_PORT, lay_out
from broker.cli.running import run_until_stopped
from broker.node.process import run_node


def dev(
    data: Annotated[Path, typer.Option(help="Where the data lives.")] = Path(".broker/dev"),
    base_port: Annotated[int, typer.Option(help="Client port; peers +100, metrics +200, AWS +565.")] = BASE_PORT,
) -> None:
    """Start one node, with nothing to configure, until Ctrl-C. Its data stays.

    One node is one copy: for replication use [bold]broker cluster[/bold].

    [dim]broker dev[/dim]
    [dim]broker dev --data try --base-port 5001[/dim]
    """

    async def work(stop: asyncio.Event) -> int:
        settings = lay_out(1, 1, data, base_port, groups=1, fsync="loop")
        refuse_busy_ports(settings)
        err().print(panel(settings, "one node, for development"), soft_wrap=True)
        return await run_node(settings[0], stop)

    run_until_stopped(work)

"""`broker status`: nodes, zones, groups, leaders and lag, as tables or JSON, once or again and again."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from broker.base.errors import BrokerError
from broker.cli.console import out
from broker.cli.instants import duration
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import Cluster, Timeout, connect
from broker.cli.running import run
from broker.client.client import Client
from broker.client.status import ClusterStatus, GroupStatus, NodeStatus


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks, with --watch.", min=0.1)] = 1.0,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 5.0,
) -> None:
    """Show the cluster's nodes, zones, groups, leaders and lag.

    [dim]broker status[/dim]
    [dim]broker status --watch[/dim]
    [dim]broker status --json | jq -r '.nodes[] | select(.reachable | not) | .id'[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            if watch:
                await _watch(client, as_json, every)
            elif as_json:
                _write_json(await client.status())
            else:
                out().print(tables_of(await client.status()))

    run(work)


def tables_of(found: ClusterStatus) -> Group:
    reachable = sum(node.reachable for node in found.nodes)
    led = sum(bool(group.leader) for group in found.groups)
    heading = Text.assemble(
        ("cluster ", "bold"),
        f"{found.cluster}: {reachable} of {len(found.nodes)} nodes reachable, "
        f"{led} of {len(found.groups)} groups have a leader (asked {found.answered_by})",
    )
    trouble = [Text(f"{node.id}: {said}", style="bold red") for node in found.nodes for said in node.trouble]
    changes = [Text(f"group {group.id}: {group.change}", style="yellow") for group in found.groups if group.change]
    notes = [Text(), *trouble, *changes] if trouble or changes else []
    return Group(heading, *notes, "", _nodes(found.nodes), "", _groups(found.groups))


async def _watch(client: Client, as_json: bool, every: float) -> None:
    if as_json:
        while True:
            _write_json(await client.status())
            await asyncio.sleep(every)
    with Live(console=out(), auto_refresh=False, screen=out().is_terminal) as live:
        while True:
            try:
                live.update(tables_of(await client.status()), refresh=True)
            except BrokerError as error:
                live.update(Text(str(error), style="red"), refresh=True)
            await asyncio.sleep(every)


def _write_json(found: ClusterStatus) -> None:
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()


def _nodes(nodes: tuple[NodeStatus, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("node", "zone", "state", "clients", "version"):
        table.add_column(name)
    table.add_column("up", justify="right")
    table.add_column("replicas", justify="right")
    table.add_column("leads", justify="right")
    for node in nodes:
        table.add_row(
            node.id,
            node.zone,
            _state(node),
            node.client_address,
            node.version or "-",
            duration(node.uptime) if node.reachable else "-",
            str(node.replicas),
            str(node.leads),
        )
    return table


def _state(node: NodeStatus) -> Text:
    if not node.reachable:
        return Text("unreachable" if node.duty == "active" else f"unreachable, {node.duty}", style="bold red")
    return Text("reachable", style="green") if node.duty == "active" else Text(node.duty, style="yellow")


def _groups(groups: tuple[GroupStatus, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("group", justify="right")
    table.add_column("leader")
    for name in ("term", "commit", "last", "snapshot", "queues"):
        table.add_column(name, justify="right")
    table.add_column("lag in entries")
    for group in groups:
        lags = Text(", ").join(
            Text(f"{replica.node} missing", style="bold red")
            if replica.missing
            else Text(f"{replica.node} {replica.lag:,}", style="yellow" if replica.lag else "")
            for replica in group.replicas
        )
        table.add_row(
            str(group.id),
            group.leader or Text("none", style="bold red"),
            f"{group.term:,}",
            f"{group.commit:,}",
            f"{group.last:,}",
            f"{group.snapshot:,}",
            f"{group.resources:,}",
            lags,
        )
    return table

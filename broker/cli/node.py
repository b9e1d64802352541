"""`broker node`: one node of a cluster, in this process."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from broker.base.errors import InvalidArgument
from broker.cli.console import note
from broker.cli.options import connect
from broker.cli.running import run_until_stopped
from broker.client.status import Member
from broker.node.memory import TOPOLOGY
from broker.node.process import run_node
from broker.node.settings import NodeSettings, PeerSettings, load

JOIN_SECONDS = 15.0


def node(
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file with the node's settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value; wins over file and environment; may be repeated.")
    ] = None,
    development: Annotated[
        bool | None,
        typer.Option("--development/--no-development", help="Take any credentials of AWS clients, and check nothing."),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            "--join", help="Client addresses of a running cluster that this node joins.", metavar="HOST:PORT,..."
        ),
    ] = None,
) -> None:
    """Run one node until SIGTERM or Ctrl-C, which hands its leaderships over first.

    Settings come from the file, then from the environment (BROKER_NODE, BROKER_ZONE, ...), then from --set.

    [dim]broker node --config /etc/threefold/node.toml[/dim]
    [dim]broker node --config node.toml --set node=a-0 --set zone=a[/dim]
    [dim]broker node --join 127.0.0.1:4001 --set node=a-1 --set zone=a --set data_dir=a-1 ...[/dim]
    """
    overrides: dict[str, str | bool] = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"--set {text!r} must look like key=value")
        overrides[key] = value
    if development is not None:
        overrides["development"] = development
    if join is not None:
        overrides["join"] = join

    async def work(stop: asyncio.Event) -> int:
        return await run_node(await _joined(load(config, overrides, os.environ)), stop)

    run_until_stopped(work)


async def _joined(settings: NodeSettings) -> NodeSettings:
    """The settings of a node that the cluster expects: a new one asks to be added, and learns whom it is to meet.

    Raises Unavailable when nobody answers, InvalidArgument when the cluster refuses."""
    if not settings.joins or (Path(settings.data_dir) / TOPOLOGY).exists():
        return settings
    me = settings.this_peer()
    async with connect(settings.join, JOIN_SECONDS) as client:
        cluster = (await client.status()).cluster
        if cluster != settings.cluster:
            raise InvalidArgument(
                f"{settings.join} is cluster {cluster!r}, this one is of {settings.cluster!r}: set cluster={cluster}"
            )
        found = await client.add_node(Member(me.id, me.zone, me.peer_address, me.client_address, me.admin_address))
    peers = tuple(
        PeerSettings(each.id, each.zone, each.peer_address, each.client_address, each.admin_address)
        for each in found.nodes
        if each.id != settings.node
    )
    note(f"{settings.node} joins {found.cluster}, which has {', '.join(peer.id for peer in peers)}")
    return msgspec.structs.replace(settings, peers=peers)

"""`broker cluster`: a whole cluster on this machine, one process per node, one simulated availability zone each.

With a command behind it, it changes who belongs to a running cluster instead: see ``broker.cli.members``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.panel import Panel
from rich.text import Text

from broker.aio.system_clock import SystemClock
from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.base.errors import InvalidArgument
from broker.base.limits import DEFAULT_DATA_GROUPS
from broker.cli import members
from broker.cli.console import err, note
from broker.cli.layout import BASE_PORT, DEFAULT_CLUSTER, lay_out
from broker.cli.running import run_until_stopped
from broker.cli.supervision import Child, Supervisor, node_command
from broker.node.settings import ENVIRONMENT_PREFIX, NodeSettings, dump, load

CONFIG_NAME = "node.toml"

app = typer.Typer(rich_markup_mode="rich")
members.register(app)


@app.callback(invoke_without_command=True)
def cluster(
    context: typer.Context,
    zones: Annotated[int, typer.Option(help="Availability zones to simulate.")] = 3,
    nodes: Annotated[int | None, typer.Option(help="Nodes in all.", show_default="one per zone")] = None,
    data: Annotated[Path, typer.Option(help="Where data, logs and configurations live.")] = Path(".broker/cluster"),
    base_port: Annotated[int, typer.Option(help="First client port; peers +100, metrics +200, AWS +565.")] = BASE_PORT,
    groups: Annotated[int, typer.Option(help="Raft groups that hold data.")] = DEFAULT_DATA_GROUPS,
    fsync: Annotated[str, typer.Option(help="Where the log is synced: thread or loop.")] = "thread",
    restart: Annotated[bool, typer.Option(help="Start a node again when it dies.")] = True,
) -> None:
    """Start a cluster on this machine and keep it running until Ctrl-C; its data stays. With a command: change the
    members of a running cluster, on this machine or elsewhere.

    [dim]broker cluster --zones 3[/dim]
    [dim]broker cluster --zones 3 --no-restart --data try --base-port 5001[/dim]
    [dim]broker cluster drain a-0[/dim]
    """
    if context.invoked_subcommand is not None:
        return
    if fsync not in ("thread", "loop"):
        raise typer.BadParameter(f"--fsync is {fsync!r}; it must be thread or loop")
    where: Literal["thread", "loop"] = "loop" if fsync == "loop" else "thread"

    async def work(stop: asyncio.Event) -> int:
        settings = lay_out(zones, nodes or zones, data, base_port, groups, where)
        refuse_busy_ports(settings)
        children = [prepare(node, data) for node in settings]
        supervisor = Supervisor(children, restart, _environment(), note, SystemClock())
        async with TaskScope("cluster", lambda _name, _error: stop.set()) as scope:
            scope.start(_welcome(supervisor, settings), name="welcome")
            return await supervisor.run(stop)

    run_until_stopped(work)


def prepare(settings: NodeSettings, data: Path) -> Child:
    """Writes the node's configuration. Raises InvalidArgument when ``data`` holds another cluster."""
    folder = data / settings.node
    config = folder / CONFIG_NAME
    if config.exists() and (before := load(config)).peers != settings.peers:
        raise InvalidArgument(
            f"{data} holds a cluster of other nodes ({_names(before)}; now {_names(settings)}, or other ports); "
            "start it as before, choose another --data, or remove that folder and its messages"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(dump(settings))
    except OSError as error:
        raise InvalidArgument(f"{config} cannot be written: {error.strerror}; choose another --data") from None
    return Child(settings.node, node_command(config), folder / "log", settings.admin_listen)


def refuse_busy_ports(nodes: Sequence[NodeSettings]) -> None:
    """Raises InvalidArgument, naming every port that something listens on."""
    addresses = [address for node in nodes for address in _addresses(node)]
    busy = [address for address in addresses if _is_busy(address)]
    if busy:
        raise InvalidArgument(
            f"something listens on {', '.join(busy)} already; is a cluster running? "
            "Stop it, or choose another --base-port"
        )


def panel(nodes: Sequence[NodeSettings], title: str) -> Panel:
    """What to try next, to be copied. No line is longer than a terminal is wide: a cut command is of no use."""
    clients = ",".join(node.client_listen for node in nodes)
    elsewhere = clients != DEFAULT_CLUSTER
    lines = (
        *([] if shutil.which("broker") else [("first", f"export PATH={_own_directory()}:$PATH")]),
        *([("first", f"export BROKER_SERVERS={nodes[0].client_listen}")] if elsewhere else []),
        ("make a queue", "broker queue create orders"),
        ("send", "broker queue send orders 'one book' 'two pens'"),
        ("receive", "broker queue receive orders --follow"),
        ("look at it", "broker status --watch"),
        ("with grpcurl", f"grpcurl -plaintext {nodes[0].client_listen} list"),
        ("with AWS SDKs", f"export AWS_ENDPOINT_URL=http://{nodes[0].aws_listen}"),
        ("metrics", f"curl http://{nodes[0].admin_listen}/metrics"),
        ("stop", "Ctrl-C; the data stays"),
    )
    text = Text("\n").join(Text.assemble((f"{what:<14}", "bold"), command) for what, command in lines)
    return Panel(text, title=title, title_align="left", border_style="green", expand=False)


def _own_directory() -> str:
    """Where this command lies, as the reader's shell may be told, short if it can be."""
    own = Path(sys.executable).parent
    return f"$PWD/{own.relative_to(Path.cwd())}" if own.is_relative_to(Path.cwd()) else str(own)


async def _welcome(supervisor: Supervisor, settings: Sequence[NodeSettings]) -> None:
    await supervisor.all_ready.wait()
    zones = len({node.zone for node in settings})
    err().print(panel(settings, f"{len(settings)} nodes in {zones} zones are ready"), soft_wrap=True)


def _addresses(node: NodeSettings) -> tuple[str, ...]:
    own = (node.client_listen, node.peer_listen, node.admin_listen, node.aws_listen)
    return tuple(address for address in own if address)


def _names(settings: NodeSettings) -> str:
    return ", ".join(peer.id for peer in settings.peers)


def _is_busy(address: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(split_address(address))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InvalidArgument(f"{address} cannot be listened on: {error.strerror}") from None
            return True
    return False


def _environment() -> dict[str, str]:
    """The nodes' settings are in their files; what is meant for commands must not reach them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}

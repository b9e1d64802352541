"""`broker cluster drain|resume|remove|replace|move|balance|transfer-leader|add-groups`: members of a running cluster.

A command asks, and then watches the cluster do it; Ctrl-C ends only the watching.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from broker.base.errors import BrokerError, Conflict
from broker.cli.console import note
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import Cluster, connect
from broker.cli.running import run
from broker.client.client import Client
from broker.client.status import ClusterStatus

POLL_SECONDS = 0.3
CALL_SECONDS = 15.0

Node = Annotated[str, typer.Argument(help="The node's id, as `broker status` shows it.", metavar="NODE")]
Group = Annotated[int, typer.Argument(help="The group's number, as `broker status` shows it.", metavar="GROUP")]
Wait = Annotated[bool, typer.Option(help="Watch until it is done.")]


def register(app: typer.Typer) -> None:
    for command in (drain, resume, remove, replace, move, balance, add_groups):
        app.command(command.__name__.replace("_", "-"))(command)
    app.command("transfer-leader")(transfer_leader)


def drain(node: Node, wait: Wait = True, cluster: Cluster = DEFAULT_CLUSTER) -> None:
    """Move every replica of a node to other nodes, and give it no new ones. It stays a member.

    [dim]broker cluster drain a-0[/dim]
    """

    async def work(client: Client) -> None:
        await client.drain_node(node)
        if wait:
            await _until(client, lambda status: _replicas(status, node) == 0)
            note(f"{node} has no replicas; `broker cluster resume {node}` lets it take some again")

    _run(work, cluster)


def resume(node: Node, cluster: Cluster = DEFAULT_CLUSTER) -> None:
    """Let a drained node take replicas again. Those that have gone come back with `broker cluster balance`.

    [dim]broker cluster resume a-0[/dim]
    """

    async def work(client: Client) -> None:
        await client.resume_node(node)
        note(f"{node} takes replicas again; `broker cluster balance` gives it some")

    _run(work, cluster)


def remove(node: Node, wait: Wait = True, cluster: Cluster = DEFAULT_CLUSTER) -> None:
    """Move every replica of a node, dead or alive, to other nodes, and forget the node.

    [dim]broker cluster remove a-0[/dim]
    """

    async def work(client: Client) -> None:
        await client.remove_node(node)
        if wait:
            await _until(client, lambda status: all(each.id != node for each in status.nodes))
            note(f"{node} has left the cluster; its process can be stopped, its data directory removed")

    _run(work, cluster)


def replace(
    dead: Annotated[str, typer.Argument(help="The node that goes; it may be dead.", metavar="DEAD")],
    new: Annotated[str, typer.Argument(help="A node of the same zone that takes its place.", metavar="NEW")],
    wait: Wait = True,
    cluster: Cluster = DEFAULT_CLUSTER,
) -> None:
    """Give all replicas of a node to another one of its zone, and forget the node.

    Start the new node first: [dim]broker node --join ADDRESS ...[/dim]

    [dim]broker cluster replace a-0 a-1[/dim]
    """

    async def work(client: Client) -> None:
        await client.remove_node(dead, new)
        if wait:
            await _until(client, lambda status: all(each.id != dead for each in status.nodes))
            note(f"{new} has taken the place of {dead}")

    _run(work, cluster)


def move(
    group: Group,
    source: Annotated[str, typer.Option("--from", help="The node that has a replica of it.", metavar="NODE")],
    target: Annotated[str, typer.Option("--to", help="The node that gets it.", metavar="NODE")],
    wait: Wait = True,
    cluster: Cluster = DEFAULT_CLUSTER,
) -> None:
    """Move one replica of a group.

    [dim]broker cluster move 5 --from a-0 --to a-1[/dim]
    """

    async def work(client: Client) -> None:
        await client.move_replica(group, source, target)
        if wait:
            await _until(client, lambda status: not _change(status, group))
            note(f"group {group} has its replica on {target}")

    _run(work, cluster)


def balance(cluster: Cluster = DEFAULT_CLUSTER) -> None:
    """Move replicas, one at a time, until the nodes have equally many. Ctrl-C stops after the move under way.

    [dim]broker cluster balance[/dim]
    """

    async def work(client: Client) -> None:
        moves = 0
        while True:
            try:
                begun = await client.balance()
            except Conflict:
                await _until(client, lambda status: not any(group.change for group in status.groups))
                continue
            if not begun:
                break
            moves += 1
            note(begun)
            await _until(client, lambda status: not any(group.change for group in status.groups), quiet=True)
        counts = ", ".join(f"{node.id} {node.replicas}" for node in (await client.status()).nodes)
        note(f"the nodes are even after {moves} moves: {counts}")

    _run(work, cluster)


def transfer_leader(
    group: Group,
    to: Annotated[str, typer.Option("--to", help="A node with a replica of the group.", metavar="NODE")],
    wait: Wait = True,
    cluster: Cluster = DEFAULT_CLUSTER,
) -> None:
    """Have a node lead a group, now and after restarts.

    [dim]broker cluster transfer-leader 5 --to b-0[/dim]
    """

    async def work(client: Client) -> None:
        await client.transfer_leader(group, to)
        if wait:
            await _until(client, lambda status: any(each.id == group and each.leader == to for each in status.groups))
            note(f"{to} leads group {group}")

    _run(work, cluster)


def add_groups(
    count: Annotated[int, typer.Argument(help="How many more.", metavar="COUNT", min=1)],
    wait: Wait = True,
    cluster: Cluster = DEFAULT_CLUSTER,
) -> None:
    """Add data groups to the cluster. New queues, and stripes of old ones, go to the emptiest groups.

    [dim]broker cluster add-groups 12[/dim]
    """

    async def work(client: Client) -> None:
        before = len((await client.status()).groups)
        await client.add_groups(count)
        if wait:
            await _until(
                client,
                lambda status: (
                    len(status.groups) >= before + count and not any(group.change for group in status.groups)
                ),
            )
            note(f"the cluster has {before + count - 1} data groups")

    _run(work, cluster)


def _run(work: Callable[[Client], Awaitable[None]], cluster: str) -> None:
    async def connected() -> None:
        async with connect(cluster, CALL_SECONDS) as client:
            await work(client)

    run(connected)


async def _until(client: Client, done: Callable[[ClusterStatus], bool], quiet: bool = False) -> None:
    """Says each change that it sees. A cluster that cannot answer for a moment is asked again."""
    said: set[str] = set()
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            status = await client.status()
        except BrokerError:
            continue
        for group in status.groups:
            words = f"group {group.id}: {group.change}"
            if group.change and words not in said and not quiet:
                said.add(words)
                note(words)
        if done(status):
            return


def _replicas(status: ClusterStatus, node: str) -> int:
    return next((each.replicas for each in status.nodes if each.id == node), 0)


def _change(status: ClusterStatus, group: int) -> str:
    return next((each.change for each in status.groups if each.id == group), "")

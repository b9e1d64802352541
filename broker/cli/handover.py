"""`broker handover`: moves leaderships off a node, as before an upgrade or a shutdown."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.cli.console import note
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import Cluster, connect
from broker.cli.running import FAILED, run


def handover(
    node: Annotated[str, typer.Argument(help="The node's id, as `broker status` shows it.", metavar="NODE")],
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds the node may take.", min=0.1)] = 5.0,
    cluster: Cluster = DEFAULT_CLUSTER,
) -> None:
    """Have a node hand over every leadership it holds. Exit code 1 when it kept some.

    [dim]broker handover a-0[/dim]
    """

    async def work() -> int:
        async with connect(cluster, timeout + 5.0) as client:
            moved = await client.hand_over(node, timeout)
        note(f"{node} handed over {moved.handed_over} of {moved.handed_over + moved.kept} leaderships")
        return FAILED if moved.kept else 0

    run(work)

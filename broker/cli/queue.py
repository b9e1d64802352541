"""`broker queue ...`: make, look at, change, empty and remove queues; send to them and receive from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from broker.aio.system_clock import SystemClock
from broker.cli import receiving, sending
from broker.cli.console import err, note, out
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import (
    Cluster,
    Delay,
    MessageSizeLimit,
    QueueName,
    ReceiveWait,
    Retention,
    Timeout,
    VisibilityTimeout,
    connect,
)
from broker.cli.running import run
from broker.client.model import QueueDescription

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.command()
def create(
    name: QueueName,
    visibility_timeout: VisibilityTimeout = None,
    delay: Delay = None,
    retention: Retention = None,
    message_size_limit: MessageSizeLimit = None,
    receive_wait: ReceiveWait = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Make a queue. Making it again with the same attributes is no error.

    [dim]broker queue create orders[/dim]
    [dim]broker queue create mails --visibility-timeout 120 --delay 5[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            created = await client.create_queue(
                name,
                visibility_timeout=visibility_timeout,
                delay=delay,
                retention=retention,
                message_size_limit=message_size_limit,
                receive_wait=receive_wait,
            )
        note(f"queue {name} created" if created else f"queue {name} was there already, with these attributes")

    run(work)


@app.command()
def update(
    name: QueueName,
    visibility_timeout: VisibilityTimeout = None,
    delay: Delay = None,
    retention: Retention = None,
    message_size_limit: MessageSizeLimit = None,
    receive_wait: ReceiveWait = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Change what is given; everything else stays.

    [dim]broker queue update orders --visibility-timeout 60[/dim]
    """
    if all(value is None for value in (visibility_timeout, delay, retention, message_size_limit, receive_wait)):
        raise typer.BadParameter("nothing to change; give at least one attribute, such as --visibility-timeout 60")

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            await client.update_queue(
                name,
                visibility_timeout=visibility_timeout,
                delay=delay,
                retention=retention,
                message_size_limit=message_size_limit,
                receive_wait=receive_wait,
            )
        note(f"queue {name} changed")

    run(work)


@app.command("list")
def list_(
    prefix: Annotated[str, typer.Argument(help="Only names that begin so.", metavar="[PREFIX]")] = "",
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Print the queues' names, one a line.

    [dim]broker queue list[/dim]
    [dim]broker queue list order[/dim]
    """

    async def work() -> None:
        count = 0
        async with connect(cluster, timeout) as client:
            async for found in client.list_queues(prefix):
                sys.stdout.write(f"{found}\n")
                count += 1
        if not count:
            note(
                "no queue" + (f" begins with {prefix}" if prefix else " yet; make one with `broker queue create NAME`")
            )

    run(work)


@app.command()
def show(
    name: QueueName,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Show a queue's attributes and exact counts.

    [dim]broker queue show orders[/dim]
    [dim]broker queue show orders --json | jq .counts.visible[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            description = await client.describe_queue(name)
        if as_json:
            sys.stdout.write(msgspec.json.encode(description).decode() + "\n")
        else:
            out().print(table_of(description))

    run(work)


@app.command()
def send(
    name: QueueName,
    bodies: Annotated[list[str] | None, typer.Argument(help="Messages to send.", metavar="[BODY]...")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Send every line of this file; - is stdin.", allow_dash=True),
    ] = None,
    delay: Delay = None,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", "-a", help="name=value or name:Number=12; may be repeated.")
    ] = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 30.0,
) -> None:
    """Send messages: those on the command line, or every line of a file.

    Returns when a quorum of the cluster has all of them on disk. Prints the ids of messages given as arguments.

    [dim]broker queue send orders "one book" "two pens"[/dim]
    [dim]broker queue send orders --file lines.txt[/dim]
    [dim]tail -f log | broker queue send logs --file -[/dim]
    """
    if bool(bodies) == (file is not None):
        raise typer.BadParameter("give either messages or --file (--file - reads stdin)")

    async def work() -> int:
        async with connect(cluster, timeout) as client:
            if file is None:
                await sending.send_arguments(client, name, bodies or [], attribute or [], delay)
                return 0
            return await sending.send_lines(client, name, file, attribute or [], delay, err(), SystemClock())

    run(work)


@app.command()
def receive(
    name: QueueName,
    max_messages: Annotated[
        int | None, typer.Option("--max", "-n", help="End after so many.", min=1, show_default="10; all with --follow")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C or --max.")] = False,
    no_ack: Annotated[bool, typer.Option("--no-ack", help="Leave the messages in the queue.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with id and attributes.")] = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a first message, without --follow.", min=0, max=20)
    ] = 1.0,
    visibility_timeout: VisibilityTimeout = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Write messages to stdout, one body a line, and delete each once it is written.

    [dim]broker queue receive orders[/dim]
    [dim]broker queue receive orders --follow > orders.txt[/dim]
    [dim]broker queue receive orders --no-ack --json --max 3[/dim]
    """

    async def work() -> int:
        writing = receiving.Writing(sys.stdout.buffer, as_json)
        async with connect(cluster, timeout) as client:
            if follow:
                return await receiving.follow(client, name, writing, max_messages, not no_ack, visibility_timeout)
            limit = max_messages or 10
            return await receiving.fetch(client, name, writing, limit, not no_ack, wait, visibility_timeout)

    run(work)


@app.command()
def purge(
    name: QueueName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Drop every message of a queue; at most once a minute.

    [dim]broker queue purge orders --yes[/dim]
    """
    _confirm(yes, f"Drop every message of queue {name}?")

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            await client.purge(name)
        note(f"queue {name} is empty")

    run(work)


@app.command()
def delete(
    name: QueueName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Remove a queue with all its messages.

    [dim]broker queue delete orders --yes[/dim]
    """
    _confirm(yes, f"Remove queue {name} with all its messages?")

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            await client.delete_queue(name)
        note(f"queue {name} deleted")

    run(work)


def table_of(queue: QueueDescription) -> Table:
    attributes, counts = queue.attributes, queue.counts
    age = "-" if counts.oldest_age is None else f"{counts.oldest_age:,.1f} s"
    table = Table(title=f"queue {queue.name}", title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for what, value in (
        ("visible", f"{counts.visible:,}"),
        ("in flight", f"{counts.in_flight:,}"),
        ("delayed", f"{counts.delayed:,}"),
        ("oldest", age),
        ("sent in all", f"{counts.sent_total:,}"),
        ("received in all", f"{counts.received_total:,}"),
        ("deleted in all", f"{counts.deleted_total:,}"),
        ("expired in all", f"{counts.expired_total:,}"),
        ("visibility timeout", f"{attributes.visibility_timeout:,g} s"),
        ("delay", f"{attributes.delay:,g} s"),
        ("retention", f"{attributes.retention:,g} s"),
        ("message size limit", f"{attributes.message_size_limit:,} bytes"),
        ("receive wait", f"{attributes.receive_wait:,g} s"),
        ("group", f"{queue.group}"),
        ("leader", queue.leader or "-"),
    ):
        table.add_row(what, value)
    return table


def _confirm(yes: bool, question: str) -> None:
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
    elif not yes:
        raise typer.BadParameter("this destroys messages; add --yes to do it without being asked")

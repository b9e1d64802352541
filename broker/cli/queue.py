"""`broker queue ...`: make, change, list, show, empty and remove queues. What is done with their messages is in rooms
of its own, which are joined to the command here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from broker.cli import browsing, messages, redrive, scheduling, showing
from broker.cli.attributes import (
    ContentDeduplication,
    DeadLetters,
    DeduplicationScope,
    Delay,
    HighThroughput,
    MaxReceives,
    MessageSizeLimit,
    ReceiveWait,
    Retention,
    Stripes,
    TakesDeadLettersOf,
    VisibilityTimeout,
    fifo_options,
    is_empty,
    plain_options,
    redrive_allow_policy,
    redrive_policy,
)
from broker.cli.console import note
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import Cluster, QueueName, Timeout, connect
from broker.cli.running import run
from broker.client.client import Client
from broker.client.model import QueueOptions, RedrivePolicy

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.command()
def create(
    name: QueueName,
    visibility_timeout: VisibilityTimeout = None,
    delay: Delay = None,
    retention: Retention = None,
    message_size_limit: MessageSizeLimit = None,
    receive_wait: ReceiveWait = None,
    stripes: Stripes = None,
    beside: Annotated[
        str | None,
        typer.Option(metavar="QUEUE", help="Live in the same group as this queue, to exchange messages with it."),
    ] = None,
    content_deduplication: ContentDeduplication = None,
    deduplication_scope: DeduplicationScope = None,
    high_throughput: HighThroughput = None,
    dead_letters: DeadLetters = None,
    max_receives: MaxReceives = None,
    takes_dead_letters_of: TakesDeadLettersOf = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Make a queue. A name that ends in .fifo makes a FIFO queue. Making it again with the same attributes is no error.

    [dim]broker queue create orders[/dim]
    [dim]broker queue create mails --visibility-timeout 120 --delay 5[/dim]
    [dim]broker queue create orders-dead && broker queue create orders --dead-letters orders-dead --max-receives 5[/dim]
    [dim]broker queue create payments.fifo --content-deduplication[/dim]
    [dim]broker queue create clicks.fifo --high-throughput --stripes 8[/dim]
    [dim]broker queue create invoices --beside orders[/dim]
    """

    async def work() -> None:
        options: QueueOptions = {
            **plain_options(visibility_timeout, delay, retention, message_size_limit, receive_wait, stripes),
            **fifo_options(content_deduplication, deduplication_scope, high_throughput),
            "redrive": redrive_policy(dead_letters, max_receives),
            "redrive_allow": redrive_allow_policy(takes_dead_letters_of),
        }
        async with connect(cluster, timeout) as client:
            created = await client.create_queue(name, beside=beside, **options)
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
    stripes: Stripes = None,
    content_deduplication: ContentDeduplication = None,
    deduplication_scope: DeduplicationScope = None,
    high_throughput: HighThroughput = None,
    dead_letters: DeadLetters = None,
    max_receives: MaxReceives = None,
    no_dead_letters: Annotated[
        bool, typer.Option("--no-dead-letters", help="Messages stay, however often they are received.")
    ] = False,
    takes_dead_letters_of: TakesDeadLettersOf = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Change what is given; everything else stays.

    [dim]broker queue update orders --visibility-timeout 60[/dim]
    [dim]broker queue update orders --dead-letters orders-dead --max-receives 3[/dim]
    [dim]broker queue update orders --no-dead-letters[/dim]
    [dim]broker queue update clicks --stripes 4[/dim]
    """
    if no_dead_letters and (dead_letters or max_receives):
        raise typer.BadParameter("--no-dead-letters goes without --dead-letters and --max-receives")

    async def work() -> None:
        options: QueueOptions = {
            **plain_options(visibility_timeout, delay, retention, message_size_limit, receive_wait, stripes),
            **fifo_options(content_deduplication, deduplication_scope, high_throughput),
            "redrive_allow": redrive_allow_policy(takes_dead_letters_of),
        }
        async with connect(cluster, timeout) as client:
            options["redrive"] = await _changed_redrive(client, name, dead_letters, max_receives)
            await client.update_queue(name, remove_redrive=no_dead_letters, **options)
        note(f"queue {name} changed")

    given = plain_options(visibility_timeout, delay, retention, message_size_limit, receive_wait, stripes)
    fifo = (content_deduplication, deduplication_scope, high_throughput)
    others = (*fifo, dead_letters, max_receives, takes_dead_letters_of, no_dead_letters or None)
    if is_empty(given) and all(value is None for value in others):
        raise typer.BadParameter("nothing to change; give at least one attribute, such as --visibility-timeout 60")
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


app.command()(showing.show)
app.command()(messages.send)
app.command()(messages.receive)
app.command()(scheduling.schedule)
app.command()(scheduling.cancel)
app.command()(browsing.browse)
app.add_typer(redrive.app, name="redrive", help="Move dead letters back to where they came from, or elsewhere.")


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


async def _changed_redrive(
    client: Client, name: str, dead_letters: str | None, max_receives: int | None
) -> RedrivePolicy | None:
    """Who changes one half of the policy keeps the other."""
    if (dead_letters is None) == (max_receives is None):
        return redrive_policy(dead_letters, max_receives)
    return redrive_policy(dead_letters, max_receives, (await client.describe_queue(name)).attributes.redrive)


def _confirm(yes: bool, question: str) -> None:
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
    elif not yes:
        raise typer.BadParameter("this destroys messages; add --yes to do it without being asked")

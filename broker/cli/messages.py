"""`broker queue send` and `receive`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from broker.aio.system_clock import SystemClock
from broker.cli import receiving, sending
from broker.cli.console import err
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import AsJson, Cluster, QueueName, Timeout, VisibilityTimeout, connect
from broker.cli.running import run
from broker.cli.sending import AttributeTexts, MessageGroup, TimeToLive


def send(
    name: QueueName,
    bodies: Annotated[list[str] | None, typer.Argument(help="Messages to send.", metavar="[BODY]...")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Send every line of this file; - is stdin.", allow_dash=True),
    ] = None,
    group: MessageGroup = None,
    deduplication_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="FIFO queues: works once in 5 minutes. Of several messages: ID-1, ID-2, and so on."
        ),
    ] = None,
    delay: Annotated[
        float | None, typer.Option(help="Seconds until they appear: 0-900.", show_default="the queue's")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="WHEN", help="When they appear: +10m, a date, seconds since 1970.")
    ] = None,
    in_: Annotated[str | None, typer.Option("--in", metavar="DURATION", help="The same as --at +DURATION.")] = None,
    ttl: TimeToLive = None,
    attribute: AttributeTexts = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 30.0,
) -> None:
    """Send messages: those on the command line, or every line of a file.

    Returns when a quorum of the cluster has all of them on disk. Prints the ids of messages given as arguments.

    [dim]broker queue send orders "one book" "two pens"[/dim]
    [dim]broker queue send orders --file lines.txt[/dim]
    [dim]tail -f log | broker queue send logs --file -[/dim]
    [dim]broker queue send payments.fifo --group customer-7 --deduplication-id invoice-12 "pay 30"[/dim]
    [dim]broker queue send orders --in 1h30m --ttl 2d "remind me"[/dim]
    """
    if bool(bodies) == (file is not None):
        raise typer.BadParameter("give either messages or --file (--file - reads stdin)")
    if sum(given is not None for given in (delay, at, in_)) > 1:
        raise typer.BadParameter("give only one of --delay, --at and --in")

    async def work() -> int:
        clock = SystemClock()
        when = at if in_ is None else f"+{in_}"
        options = sending.options_of(attribute, group, delay, when, "--at" if in_ is None else "--in", ttl, clock)
        async with connect(cluster, timeout) as client:
            if file is None:
                await sending.send_arguments(client, name, bodies or [], options, deduplication_id)
                return 0
            return await sending.send_lines(client, name, file, options, deduplication_id, err(), clock)

    run(work)


def receive(
    name: QueueName,
    max_messages: Annotated[
        int | None, typer.Option("--max", "-n", help="End after so many.", min=1, show_default="10; all with --follow")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C or --max.")] = False,
    no_ack: Annotated[bool, typer.Option("--no-ack", help="Leave the messages in the queue.")] = False,
    as_json: AsJson = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a first message, without --follow.", min=0, max=20)
    ] = 1.0,
    visibility_timeout: VisibilityTimeout = None,
    attempt: Annotated[
        str | None,
        typer.Option(metavar="ID", help="FIFO queues: the same again within 5 minutes gives the same messages."),
    ] = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Write messages to stdout, one body a line, and delete each once it is written.

    With --json, one object a line, with the message's id, group, attributes and where it came from.

    [dim]broker queue receive orders[/dim]
    [dim]broker queue receive orders --follow > orders.txt[/dim]
    [dim]broker queue receive orders --no-ack --json --max 3[/dim]
    """
    if attempt is not None and follow:
        raise typer.BadParameter("--attempt names one receive; it goes without --follow")

    async def work() -> int:
        writing = receiving.Writing(sys.stdout.buffer, as_json)
        async with connect(cluster, timeout) as client:
            if follow:
                return await receiving.follow(client, name, writing, max_messages, not no_ack, visibility_timeout)
            limit = max_messages or 10
            return await receiving.fetch(client, name, writing, limit, not no_ack, wait, visibility_timeout, attempt)

    run(work)
